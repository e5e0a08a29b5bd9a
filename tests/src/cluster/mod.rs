//! A Kubernetes API server as far as a watcher of pods meets it: TLS by an authority of its own, tokens,
//! lists, watches with bookmarks, and all that may go wrong with them.

mod server;
mod state;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::nginx::free_port;
use server::Serving;
pub use state::Manner;
use state::State;

/// The node that the agent under test runs on.
pub const NODE: &str = "node-a";
const TOKEN: &str = "a-token-of-the-service-account";

/// The server and its cluster. It serves from [`Self::serve`] on.
pub struct Cluster {
    /// Where it serves.
    pub addr: SocketAddr,
    authority: String,
    acceptor: TlsAcceptor,
    state: Arc<State>,
    serving: Option<Serving>,
}

impl Cluster {
    /// An empty cluster whose server is not up.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn make() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let own =
            CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &authority)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], key)?;
        Ok(Self {
            addr: SocketAddr::from(([127, 0, 0, 1], free_port("127.0.0.1")?)),
            authority: authority.pem(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            state: Arc::new(State::new(TOKEN)),
            serving: None,
        })
    }

    /// Serves from now on.
    ///
    /// # Errors
    /// When its port was taken meanwhile.
    pub fn serve(&mut self) -> Result<()> {
        let serving = Serving::start(self.addr, self.acceptor.clone(), Arc::clone(&self.state))?;
        self.serving = Some(serving);
        Ok(())
    }

    /// Closes its door and cuts every connection.
    pub fn vanish(&mut self) {
        self.serving = None;
    }

    /// How it answers from now on.
    pub fn behave(&self, manner: Manner) {
        self.state.behave(manner);
    }

    /// Forgets what happened so far, as by a compaction, and ends every watch.
    pub fn forget(&self) {
        self.state.forget();
    }

    /// A pod came or changed.
    pub fn put(&self, pod: Value) {
        self.state.put(pod);
    }

    /// A pod was deleted.
    pub fn delete(&self, uid: &str) {
        self.state.delete(uid);
    }

    /// What it was asked for so far: paths with their queries.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.state.asked()
    }

    /// Has this command find what a pod of the cluster finds: a service account, and where the server is.
    ///
    /// # Errors
    /// When the account's files cannot be written.
    pub fn inside(&self, folder: &Path, program: &Path) -> Result<Command> {
        let account = folder.join("serviceaccount");
        fs::create_dir_all(&account)?;
        fs::write(account.join("ca.crt"), &self.authority)?;
        fs::write(account.join("token"), TOKEN)?;
        fs::write(account.join("namespace"), "probe502")?;
        // The place is the same in every pod; here it lies in a mount namespace.
        let script = "set -e; place=/run/secrets/kubernetes.io/serviceaccount
            mount -t tmpfs none /run; mkdir -p $place; mount --bind \"$0\" $place; exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(account);
        command
            .arg(program)
            .env("KUBERNETES_SERVICE_HOST", self.addr.ip().to_string())
            .env("KUBERNETES_SERVICE_PORT", self.addr.port().to_string())
            .env("NODE_NAME", NODE)
            .env("HOME", "/nonexistent")
            .env_remove("KUBECONFIG");
        Ok(command)
    }

    /// A kubeconfig file of somebody who may ask.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig(&self, path: &Path) -> Result<()> {
        let authority = path.with_extension("crt");
        fs::write(&authority, &self.authority)?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{}", self.addr),
                "certificate-authority": authority,
            }}],
            "users": [{"name": "test", "user": {"token": TOKEN}}],
        });
        fs::write(path, config.to_string()).context("the kubeconfig")
    }
}

/// A pod of the Deployment `orders` with one container, as an API server tells it.
#[must_use]
pub fn pod(node: &str, uid: &str, container: &str) -> Value {
    let name = format!(
        "orders-7f6c9d8b5-{}",
        uid.get(uid.len().saturating_sub(5)..).unwrap_or(uid)
    );
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid,
            "creationTimestamp": "2026-11-21T08:00:00Z",
            "labels": {"app": "orders", "pod-template-hash": "7f6c9d8b5"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "orders-7f6c9d8b5",
                "uid": "00000000-0000-0000-0000-000000000001",
                "controller": true, "blockOwnerDeletion": true,
            }],
            "managedFields": [{
                "manager": "kubelet", "operation": "Update", "apiVersion": "v1",
                "time": "2026-11-21T08:00:01Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:status": {"f:podIP": {}}}, "subresource": "status",
            }],
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": "app", "image": "shop/orders:1", "env": [{"name": "A", "value": "b"}]}],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.1.2.3",
            "containerStatuses": [{
                "name": "app", "ready": true, "restartCount": 0, "image": "shop/orders:1", "imageID": "x",
                "containerID": format!("containerd://{container}"),
                "state": {"running": {"startedAt": "2026-11-21T08:00:01Z"}}, "lastState": {},
            }],
        },
    })
}
