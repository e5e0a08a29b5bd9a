//! Who plays in one cell: the upstreams behind a site, and how they break.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::door::{Door, Outcome};
use crate::gateways::{Server, Trust};

/// What breaks the upstreams and asks the request that fails.
type Play = Box<dyn FnMut(&Door) -> Result<Outcome> + Send>;

/// The upstreams of one site, alive until the verdict is in.
pub struct Cast {
    /// The site's servers.
    pub servers: Vec<Server>,
    /// Speaks TLS to them.
    pub tls: Option<Trust>,
    /// A rule of the gateway answers with this status instead.
    pub rule: Option<u16>,
    /// The gateway that it needs for itself.
    pub own: Option<Own>,
    /// Breaks, asks, and returns the request that is judged.
    pub play: Play,
}

/// A gateway process for one cell alone.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// In this network namespace, at this address.
    pub netns: Option<(String, String)>,
    /// With so many descriptors.
    pub descriptors: Option<u32>,
    /// That waits so long for an answer.
    pub patience: Option<Duration>,
}

impl Cast {
    /// One upstream that is reached by TCP.
    pub fn of(
        upstream: impl Into<String>,
        play: impl FnMut(&Door) -> Result<Outcome> + Send + 'static,
    ) -> Result<Self> {
        Ok(Self::servers(vec![Server::Tcp(upstream.into())], play))
    }

    /// Several servers.
    pub fn servers(
        servers: Vec<Server>,
        play: impl FnMut(&Door) -> Result<Outcome> + Send + 'static,
    ) -> Self {
        Self {
            servers,
            tls: None,
            rule: None,
            own: None,
            play: Box::new(play),
        }
    }

    /// One upstream at the path of a UNIX socket.
    pub fn unix(
        path: PathBuf,
        play: impl FnMut(&Door) -> Result<Outcome> + Send + 'static,
    ) -> Self {
        Self::servers(vec![Server::Unix(path)], play)
    }

    /// The same, spoken to in TLS.
    #[must_use]
    pub fn tls(self, trust: Trust) -> Self {
        let tls = Some(trust);
        Self { tls, ..self }
    }

    /// The same, answered by a rule.
    #[must_use]
    pub fn ruled(self, status: u16) -> Self {
        let rule = Some(status);
        Self { rule, ..self }
    }

    /// The same, with a gateway of its own.
    #[must_use]
    pub fn own(self, own: Own) -> Self {
        let own = Some(own);
        Self { own, ..self }
    }
}
