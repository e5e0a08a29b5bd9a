//! The faults of `faulty.py` that need nothing but a request: their names, and what must be said of them.

use std::net::SocketAddr;

use anyhow::Result;

use crate::client::{Answer, Client, next_id};
use crate::nginx::Nginx;
use crate::watch::{Sure, Watch};

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its name in the request's path.
    pub name: &'static str,
    /// The method to ask by.
    pub method: &'static str,
    /// The cause that its verdict must name.
    pub cause: &'static str,
}

const fn get(name: &'static str, cause: &'static str) -> Fault {
    Fault {
        name,
        method: "GET",
        cause,
    }
}

/// Each has a proof on its socket or its process.
pub const FAULTS: &[Fault] = &[
    get("close-without-answer", "app.closed-without-answer"),
    get("partial-status", "app.closed-mid-header"),
    get("partial-header", "app.closed-mid-header"),
    get("partial-header-reset", "app.closed-mid-header"),
    get("reset-linger", "app.reset-linger"),
    Fault {
        name: "reset-unread",
        method: "POST",
        cause: "app.reset-unread",
    },
    get("reset-unseen", "app.reset-unread"),
    get("malformed-header", "protocol.malformed"),
    get("header-too-big", "protocol.header-too-big"),
    get("says-502", "relayed.upstream"),
    get("segv", "process.crash"),
    get("abort", "process.crash"),
    get("exit-early", "process.exit"),
    get("exit-late", "process.exit"),
    get("unhandled", "process.exit"),
    get("killed-by-master", "process.killed.by-parent"),
];

impl Fault {
    /// How sure its verdict must be: an interpreter that closes its sockets before it exits may be
    /// held up in between on a busy host, and then the exit is no proof.
    #[must_use]
    pub fn sure(&self) -> Sure {
        if ["exit-late", "unhandled"].contains(&self.name) {
            Sure::Inferred
        } else {
            Sure::Proven
        }
    }

    /// Asks for this fault, on a connection and a path of its own.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn ask(&self, gateway: &Nginx) -> Result<Answer> {
        self.ask_at(gateway.addr)
    }

    /// The same of any gateway.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn ask_at(&self, gateway: SocketAddr) -> Result<Answer> {
        let path = format!("/fault/{}/{}", self.name, next_id());
        let mut client = Client::connect(gateway)?;
        if self.method == "POST" {
            client.post(&path)
        } else {
            client.get(&path)
        }
    }
}

/// Breaks in every way, one after the other, with good requests between that warm the pool. The verdicts
/// are awaited together, for most wait for an exit that does not come.
///
/// # Errors
/// When an answer does not come.
pub fn each(gateway: &Nginx, watch: &mut Watch) -> Result<()> {
    let mut asked = Vec::new();
    for fault in FAULTS {
        let good = gateway.get("/ok")?;
        anyhow::ensure!(good.status == 200, "a good request got {}", good.status);
        asked.push((fault, fault.ask(gateway)?));
    }
    for (fault, answer) in asked {
        watch.expect(&answer, fault.cause, fault.sure());
    }
    Ok(())
}

/// The fault of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn fault(name: &str) -> Fault {
    let found = FAULTS.iter().find(|fault| fault.name == name);
    *found.unwrap_or_else(|| panic!("no fault is called {name}"))
}
