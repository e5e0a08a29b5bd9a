//! Who listens on UNIX paths, as far as was seen: no hook tells of a UNIX listener's end, so its
//! owner's end must.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attempts::Attempt;
use crate::processes::{Ending, Processes};
use crate::recent::Recent;
use crate::units::{Netns, Pid, Timestamp};

/// A UNIX listener, when it was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixListener {
    /// Its network namespace.
    pub netns: Netns,
    /// The process that called `listen(2)`, or the first of those that hold it.
    pub pid: Pid,
    /// Its path, as it was bound; `@` for an abstract one.
    pub path: String,
    /// It was there before the agent: taken from the socket dump.
    #[serde(default)]
    pub before: bool,
}

/// Who had listened on a path that refuses.
#[derive(Clone, Debug, PartialEq)]
pub struct Former {
    /// When it was last seen to listen.
    pub seen: Timestamp,
    /// Who.
    pub pid: Pid,
    /// How it ended, where it has.
    pub ending: Option<Ending>,
}

/// The last listener of each path.
#[derive(Debug)]
pub struct UnixListeners {
    /// By path, then namespace: containers may use one path for different sockets.
    seen: Recent<(String, Netns), (Timestamp, Pid)>,
}

impl Default for UnixListeners {
    fn default() -> Self {
        Self {
            seen: Recent::new(1024, Duration::MAX),
        }
    }
}

impl UnixListeners {
    /// Someone listens.
    pub fn see(&mut self, at: Timestamp, listener: UnixListener) {
        let key = (listener.path, listener.netns);
        self.seen.insert(at, key, (at, listener.pid));
    }

    /// Who had listened where an attempt failed; nothing where several listeners had that path.
    #[must_use]
    pub fn former(&self, attempt: &Attempt, processes: &Processes) -> Option<Former> {
        let path = attempt.flow.path.clone()?;
        let (first, last) = ((path.clone(), Netns(0)), (path, Netns(u32::MAX)));
        let mut all = self.seen.between(first, last).map(|(_, seen)| *seen);
        let (seen, pid) = all.next().filter(|(seen, _)| *seen <= attempt.at)?;
        if all.next().is_some() {
            return None;
        }
        let ending = processes.ending(pid, seen);
        let ending = ending.filter(|ending| ending.at <= attempt.at);
        Some(Former { seen, pid, ending })
    }
}
