//! The client's side of one cell: what it asked, and what it got.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::client::{Client, next_id};
use crate::gateways::Kind;

/// What a client saw of one request.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The path asked for: no two requests share one.
    pub path: String,
    /// The client's own address.
    pub client: SocketAddr,
    /// Where it asked.
    pub door: SocketAddr,
    /// The status; none where the gateway closed without an answer.
    pub status: Option<u16>,
    /// Why there is none.
    pub error: String,
    /// The client waited no longer.
    pub left: bool,
    /// When it came.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
}

/// One site of a gateway, as its client meets it.
pub struct Door {
    /// Where it is.
    pub addr: SocketAddr,
    /// Who stands there.
    pub kind: Kind,
    asked: Mutex<Vec<Outcome>>,
}

/// A kept-alive client.
pub struct Guest<'a> {
    client: Client,
    door: &'a Door,
}

impl Door {
    /// The door at this address.
    #[must_use]
    pub fn at(addr: SocketAddr, kind: Kind) -> Self {
        let asked = Mutex::default();
        Self { addr, kind, asked }
    }

    /// All that was asked here.
    #[must_use]
    pub fn asked(&self) -> Vec<Outcome> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }

    /// A client that may ask more than once.
    ///
    /// # Errors
    /// When the gateway does not accept.
    pub fn enter(&self) -> Result<Guest<'_>> {
        let client = Client::connect(self.addr)?;
        Ok(Guest { client, door: self })
    }

    /// Asks for a path of its own below this folder.
    ///
    /// # Errors
    /// When the gateway does not accept.
    pub fn get(&self, folder: &str) -> Result<Outcome> {
        self.enter()?.get(folder)
    }

    /// Asks for a fault of `faulty.py`.
    ///
    /// # Errors
    /// When the gateway does not accept.
    pub fn fault(&self, name: &str) -> Result<Outcome> {
        self.get(&format!("/fault/{name}"))
    }

    /// A request that is good.
    ///
    /// # Errors
    /// When it is not.
    pub fn good(&self) -> Result<()> {
        self.enter()?.good()
    }

    /// Asks, and acts while the answer is awaited; the act hears the request's number.
    ///
    /// # Errors
    /// When the act fails or the gateway does not accept.
    pub fn meanwhile(&self, folder: &str, act: impl FnOnce(u64) -> Result<()>) -> Result<Outcome> {
        let id = next_id();
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| self.enter()?.ask("GET", format!("{folder}/{id}"), 0));
            act(id)?;
            let answer = asked.join();
            answer.map_err(|_| anyhow::anyhow!("the client panicked"))?
        })
    }
}

impl Guest<'_> {
    /// A request that is good.
    ///
    /// # Errors
    /// When it is not.
    pub fn good(&mut self) -> Result<()> {
        let good = self.get("/ok")?;
        anyhow::ensure!(good.status == Some(200), "a good request got {good:?}");
        Ok(())
    }

    /// Asks for a path of its own below this folder.
    ///
    /// # Errors
    /// When the socket has no address.
    pub fn get(&mut self, folder: &str) -> Result<Outcome> {
        self.ask("GET", format!("{folder}/{}", next_id()), 0)
    }

    /// The same with a body of this size.
    ///
    /// # Errors
    /// When the socket has no address.
    pub fn post(&mut self, folder: &str, size: usize) -> Result<Outcome> {
        self.ask("POST", format!("{folder}/{}", next_id()), size)
    }

    fn ask(&mut self, method: &str, path: String, size: usize) -> Result<Outcome> {
        let client = self.client.addr().context("no client address")?;
        let body = crate::client::body(size);
        let asked = Instant::now();
        let answer = self.client.ask(method, &path, &body);
        let at = answer
            .as_ref()
            .map_or_else(|_| Instant::now(), |answer| answer.at);
        let outcome = Outcome {
            path,
            client,
            door: self.door.addr,
            status: answer.as_ref().ok().map(|answer| answer.status),
            error: answer
                .as_ref()
                .map_or_else(|error| format!("{error:#}"), |_| String::new()),
            left: answer.as_ref().is_err_and(waited_in_vain),
            at,
            took: at.saturating_duration_since(asked),
        };
        let mut asked = self
            .door
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        asked.push(outcome.clone());
        Ok(outcome)
    }
}

/// Whether a read came to its timeout (socket(7), `SO_RCVTIMEO`).
fn waited_in_vain(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::WouldBlock)
}
