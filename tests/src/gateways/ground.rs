//! Where a gateway's files lie, as we see them and as it sees them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Kind, Plan, Server, Site, Trust};
use crate::client::next_id;

/// The folder of one running gateway, and what is wanted of it.
pub(super) struct Ground<'a> {
    pub plan: &'a Plan,
    /// The folder, as we see it.
    pub dir: PathBuf,
    /// The same folder, as the gateway sees it.
    pub inside: PathBuf,
    /// Its program, as it sees it.
    pub program: String,
    root: PathBuf,
}

impl<'a> Ground<'a> {
    /// Makes the folder; programs that leave root's rights behind can write there.
    pub fn make(kind: Kind, plan: &'a Plan) -> Result<Self> {
        let program = kind.program()?.display().to_string();
        let root = kind.root()?.unwrap_or_else(|| "/".into());
        let inside = std::env::temp_dir().join(format!(
            "probe502-{}-{}-{}",
            kind.name(),
            std::process::id(),
            next_id()
        ));
        let dir = root.join(inside.strip_prefix("/").unwrap_or(&inside));
        std::fs::create_dir_all(&dir)?;
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o777))?;
        Ok(Self {
            plan,
            dir,
            inside,
            program,
            root,
        })
    }

    /// Writes a file there and returns its path as the gateway sees it.
    pub fn write(&self, name: &str, text: &str) -> Result<String> {
        std::fs::write(self.dir.join(name), text)?;
        Ok(self.inside(name))
    }

    /// The path of a file there, as the gateway sees it.
    pub fn inside(&self, name: &str) -> String {
        self.inside.join(name).display().to_string()
    }

    /// A UNIX socket's path, as the gateway sees it.
    pub fn socket(&self, path: &Path) -> Result<String> {
        let seen = path.strip_prefix(&self.root);
        let seen = seen.with_context(|| format!("the gateway cannot see {}", path.display()))?;
        Ok(Path::new("/").join(seen).display().to_string())
    }

    /// A copy of the authority's certificate, where the gateway can read it.
    pub fn authority(&self, site: &Site) -> Result<Option<String>> {
        match &site.tls {
            Some(Trust::Authority(file)) => {
                let text = std::fs::read_to_string(file)?;
                self.write(&format!("ca-{}.pem", site.addr.port()), &text)
                    .map(Some)
            }
            Some(Trust::Anyone) | None => Ok(None),
        }
    }

    /// The server's place in the words of those that write `unix:PATH`.
    pub fn place(&self, server: &Server) -> Result<String> {
        Ok(match server {
            Server::Tcp(addr) => addr.clone(),
            Server::Unix(path) => format!("unix:{}", self.socket(path)?),
        })
    }
}

/// `host` and `port` of a server that is reached by TCP.
pub(super) fn tcp(server: &Server) -> Result<(&str, u16)> {
    let Server::Tcp(addr) = server else {
        anyhow::bail!("this gateway does not dial UNIX sockets");
    };
    let (host, port) = addr.rsplit_once(':').context("host:port")?;
    Ok((
        host.trim_start_matches('[').trim_end_matches(']'),
        port.parse()?,
    ))
}
