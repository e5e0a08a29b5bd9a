//! Where the API server is, and what shows it who asks: a kubeconfig, or the pod's service account.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::Uri;
use serde_json::Value;

/// Where every pod finds its account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What a kubeconfig may ask for that is not done here: who wants it must be told.
const NOT_DONE: &[(&str, &str)] = &[
    ("cluster", "insecure-skip-tls-verify"),
    ("cluster", "proxy-url"),
    ("user", "exec"),
    ("user", "auth-provider"),
    ("user", "username"),
    ("user", "as"),
];

/// An API server, and the rights that are had there.
#[derive(Debug, Default)]
pub struct Access {
    /// Its address.
    pub url: Uri,
    /// The authorities that may vouch for it, as PEM.
    pub authorities: Vec<u8>,
    /// Its name in its certificate, where that is not the one in its address.
    pub name: Option<String>,
    /// A token that stays as it is.
    pub token: Option<String>,
    /// A token that is replaced in its file.
    pub token_file: Option<PathBuf>,
    /// A certificate and its key, as PEM.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl Access {
    /// `KUBECONFIG`, else the pod's service account.
    pub fn find() -> Result<Self> {
        match variable("KUBECONFIG") {
            Some(path) => Self::of_kubeconfig(Path::new(&path)),
            None => Self::of_the_pod(),
        }
    }

    fn of_the_pod() -> Result<Self> {
        let host = variable("KUBERNETES_SERVICE_HOST");
        let port = variable("KUBERNETES_SERVICE_PORT");
        let (Some(host), Some(port)) = (host, port) else {
            bail!("neither KUBECONFIG nor KUBERNETES_SERVICE_HOST is set: this runs in no pod");
        };
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host,
        };
        let account = Path::new(ACCOUNT);
        Ok(Self {
            url: format!("https://{host}:{port}").parse()?,
            authorities: read(&account.join("ca.crt"))?,
            token_file: Some(account.join("token")),
            ..Self::default()
        })
    }

    fn of_kubeconfig(path: &Path) -> Result<Self> {
        let config: Value = serde_json::from_slice(&read(path)?).with_context(|| {
            format!(
                "{} is not JSON; `kubectl config view --raw --minify --flatten -o json` writes it so",
                path.display()
            )
        })?;
        Self::said(&config, path.parent().unwrap_or(Path::new("")))
            .with_context(|| path.display().to_string())
    }

    fn said(config: &Value, folder: &Path) -> Result<Self> {
        let context = entry(config, "context", &config["current-context"])?;
        let cluster = entry(config, "cluster", &context["cluster"])?;
        let user = entry(config, "user", &context["user"])?;
        for (place, key) in NOT_DONE {
            let asked = &if *place == "user" { user } else { cluster }[*key];
            let asks = !(asked.is_null() || *asked == false);
            ensure!(!asks, "probe502 cannot do what its `{key}` asks for");
        }
        let server = cluster["server"].as_str().context("it names no server")?;
        let authorities = pem(cluster, "certificate-authority", folder)?;
        let certificate = pem(user, "client-certificate", folder)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Self {
            url: server.parse()?,
            authorities: authorities.unwrap_or_default(),
            name: text(&cluster["tls-server-name"]),
            token: text(&user["token"]),
            token_file: user["tokenFile"].as_str().map(|file| folder.join(file)),
            certificate: certificate.zip(pem(user, "client-key", folder)?),
        })
    }
}

/// The context, cluster or user of this name.
fn entry<'a>(config: &'a Value, kind: &str, name: &Value) -> Result<&'a Value> {
    let all = config[format!("{kind}s")].as_array();
    let mut all = all.into_iter().flatten();
    let found = all.find(|one| one["name"] == *name && name.is_string());
    let found = found.with_context(|| format!("it has no {kind} {name}"))?;
    Ok(&found[kind])
}

/// What stands in the kubeconfig itself, or in a file that it names.
fn pem(of: &Value, key: &str, folder: &Path) -> Result<Option<Vec<u8>>> {
    if let Some(data) = of[format!("{key}-data")].as_str() {
        let data = BASE64_STANDARD.decode(data);
        return data.map(Some).with_context(|| format!("{key}-data"));
    }
    let file = of[key].as_str();
    file.map(|file| read(&folder.join(file))).transpose()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> Value {
        json!({
            "current-context": "here",
            "contexts": [
                {"name": "there", "context": {"cluster": "other", "user": "nobody"}},
                {"name": "here", "context": {"cluster": "ours", "user": "node"}},
            ],
            "clusters": [{"name": "ours", "cluster": {
                "server": "https://192.0.2.1:6443/prefix",
                "certificate-authority-data": BASE64_STANDARD.encode("roots"),
                "tls-server-name": "kubernetes",
            }}],
            "users": [{"name": "node", "user": {
                "tokenFile": "token",
                "client-certificate-data": BASE64_STANDARD.encode("chain"),
                "client-key-data": BASE64_STANDARD.encode("key"),
            }}],
        })
    }

    #[test]
    fn a_kubeconfig_says_where_and_who() {
        let access = Access::said(&config(), Path::new("/etc/kubernetes")).expect("whole");
        assert_eq!(access.url, "https://192.0.2.1:6443/prefix");
        assert_eq!(access.authorities, b"roots");
        assert_eq!(access.name.as_deref(), Some("kubernetes"));
        assert_eq!(access.token, None);
        let file = access.token_file.as_deref();
        assert_eq!(file, Some(Path::new("/etc/kubernetes/token")));
        let certificate = access.certificate;
        assert_eq!(certificate, Some((b"chain".to_vec(), b"key".to_vec())));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_its_name() {
        for (place, key) in NOT_DONE {
            let mut config = config();
            config[format!("{place}s")][0][place][key] = json!(true);
            let refused = Access::said(&config, Path::new("")).expect_err("refused");
            assert!(refused.to_string().contains(key), "{refused}");
        }
        let mut config = config();
        config["current-context"] = Value::Null;
        assert!(Access::said(&config, Path::new("")).is_err());
    }
}
