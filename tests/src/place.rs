//! Where gateway and upstream stand to each other: on loopback, over IPv6, in two namespaces.

use anyhow::Result;

use crate::netns::Netns;
use crate::nginx::{Nginx, Plan, free_port};
use crate::upstream::Upstream;

/// A place for the cast.
pub struct Place {
    /// The upstream's address.
    host: String,
    /// The gateway's address.
    gateway: String,
    /// The upstream's namespace, where it is not ours.
    netns: Option<Netns>,
}

impl Place {
    /// Both on 127.0.0.1.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            host: "127.0.0.1".into(),
            gateway: "127.0.0.1".into(),
            netns: None,
        }
    }

    /// Both on `::1`.
    #[must_use]
    pub fn ipv6() -> Self {
        Self {
            host: "::1".into(),
            gateway: "::1".into(),
            netns: None,
        }
    }

    /// The upstream in a namespace of its own; packets are processed on processor 1 while the
    /// gateway is pinned to 0, as a network card may have it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn elsewhere() -> Result<Self> {
        let netns = Netns::make()?;
        netns.steer(1)?;
        Ok(Self {
            host: netns.host(),
            gateway: "127.0.0.1".into(),
            netns: Some(netns),
        })
    }

    /// `faulty.py` at this place.
    ///
    /// # Errors
    /// When it does not start.
    pub fn upstream(&self, options: &[&str]) -> Result<Upstream> {
        let port = free_port(&self.gateway)?.to_string();
        let here = ["--host", &self.host, "--port", &port];
        let netns = self.netns.as_ref().map(|netns| netns.name.as_str());
        Upstream::faulty_at(netns, &[&here, options].concat())
    }

    /// A gateway before that upstream.
    ///
    /// # Errors
    /// When it does not start.
    pub fn gateway(&self, upstream: &Upstream, pooled: bool) -> Result<Nginx> {
        Nginx::start(&Plan {
            host: self.gateway.clone(),
            pooled,
            cpu: self.netns.as_ref().map(|_| 0),
            ..Plan::before(&upstream.addr)
        })
    }

    /// The hook of this host's firewall that the upstream's packets pass.
    #[must_use]
    pub fn from_upstream(&self) -> &'static str {
        if self.netns.is_some() {
            "input"
        } else {
            "output"
        }
    }
}
