//! The usual cast: an upstream, a gateway before it, and an agent that watches the gateway.

use anyhow::Result;

use crate::client::{self, Answer, next_id};
use crate::nginx::Nginx;
use crate::repertoire::fault;
use crate::upstream::Upstream;
use crate::watch::Watch;

/// A running cast.
pub struct Stage {
    /// Who judges the verdicts.
    pub watch: Watch,
    /// Who answers 502.
    pub gateway: Nginx,
    /// Who breaks.
    pub upstream: Upstream,
}

impl Stage {
    /// Puts a gateway before this upstream and watches it.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn of(upstream: Upstream) -> Result<Self> {
        let gateway = Nginx::before(&upstream.addr)?;
        let watch = Watch::over(&gateway)?;
        Ok(Self {
            watch,
            gateway,
            upstream,
        })
    }

    /// With `faulty.py` and these options.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn faulty(options: &[&str]) -> Result<Self> {
        Self::of(Upstream::faulty(options)?)
    }

    /// One fault of the repertoire and its verdict.
    ///
    /// # Errors
    /// When anything is not as it must be.
    pub fn breaks(name: &str) -> Result<()> {
        let mut stage = Self::faulty(&[])?;
        let fault = fault(name);
        stage
            .watch
            .expect(&fault.ask(&stage.gateway)?, fault.cause, fault.sure());
        stage.end()
    }

    /// Asks by GET for `/fault/NAME/ID`.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn fault(&self, name: &str) -> Result<Answer> {
        self.gateway.get(&format!("/fault/{name}/{}", next_id()))
    }

    /// Asks for `/fault/NAME/ID`, waits until a process holds the request, lets the test act on that
    /// process, and returns the answer.
    ///
    /// # Errors
    /// When the act fails or no answer comes.
    pub fn meanwhile(&self, name: &str, act: impl FnOnce(u32) -> Result<()>) -> Result<Answer> {
        let id = next_id();
        let asked = client::in_background(self.gateway.addr, format!("/fault/{name}/{id}"));
        act(self.upstream.holder(id)?)?;
        client::joined(asked)
    }

    /// Ends the watch, and says what was wrong.
    ///
    /// # Errors
    /// When anything was.
    pub fn end(self) -> Result<()> {
        self.watch.end().map(drop)
    }
}
