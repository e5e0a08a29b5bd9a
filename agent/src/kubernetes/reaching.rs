//! How the API server is reached: one connection for each request, TLS by the cluster's authority, the
//! token as it is now. kube's own client brings YAML, plugins and pools: a quarter of the whole program.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower::{BoxError, service_fn};

use super::access::Access;

/// A client of this server, with these rights.
pub fn client(access: Access) -> Result<Client> {
    let way = Arc::new(Way::of(access)?);
    let ask = service_fn(move |request| Arc::clone(&way).ask(request));
    // Pods are asked for by their node, whatever their namespaces.
    Ok(Client::new(ask, "default"))
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

struct Way {
    access: Access,
    host: String,
    port: u16,
    authority: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Way {
    fn of(access: Access) -> Result<Self> {
        let authority = access.url.authority();
        let authority = authority.context("the API server's address has no host")?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let secure = access.url.scheme_str() == Some("https");
        Ok(Self {
            port: authority
                .port_u16()
                .unwrap_or(if secure { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str())?,
            tls: secure.then(|| tls(&access, &host)).transpose()?,
            host,
            access,
        })
    }

    async fn ask(self: Arc<Self>, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let request = self.addressed(request)?;
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = http1::handshake(stream).await?;
        // It lasts as long as the answer; what breaks it breaks that.
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        Ok(match &self.tls {
            Some((tls, name)) => Box::new(tls.connect(name.clone(), stream).await?),
            None => Box::new(stream),
        })
    }

    fn addressed(&self, mut request: Request<Body>) -> Result<Request<Body>> {
        let path = request.uri().path_and_query();
        let path = path.map_or("/", |path| path.as_str());
        // A proxy before several clusters tells them by a path.
        let prefix = self.access.url.path().trim_end_matches('/');
        *request.uri_mut() = Uri::try_from(format!("{prefix}{path}"))?;
        let name = concat!("probe502/", env!("CARGO_PKG_VERSION"));
        let token = self.token()?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(name));
        if let Some(token) = token {
            let bearer = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
            headers.insert(AUTHORIZATION, bearer.context("the token is not one word")?);
        }
        Ok(request)
    }

    /// The kubelet replaces a pod's token within the hour, so each request reads it.
    fn token(&self) -> Result<Option<String>> {
        let Some(file) = &self.access.token_file else {
            return Ok(self.access.token.clone());
        };
        let token = std::fs::read_to_string(file);
        let token = token.with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Some(token))
    }
}

fn tls(access: &Access, host: &str) -> Result<(TlsConnector, ServerName<'static>)> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&access.authorities) {
        roots.add(root.context("the cluster's authority is not understood")?)?;
    }
    ensure!(
        !roots.is_empty(),
        "no authority may vouch for the API server"
    );
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match &access.certificate {
        Some((chain, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
            let chain = chain.context("the client's certificate is not understood")?;
            let key = PrivateKeyDer::from_pem_slice(key).context("its key is not understood")?;
            config.with_client_auth_cert(chain, key)?
        }
        None => config.with_no_client_auth(),
    };
    let name = ServerName::try_from(access.name.as_deref().unwrap_or(host).to_owned())?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}
