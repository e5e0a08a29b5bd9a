//! What the core would know about a failed answer and no hook tells: it wishes, the senses look.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::attempts::Attempt;
use crate::event::Task;
use crate::listeners::Listeners;
use crate::looks::{Peer, Queue};
use crate::memory::Memory;
use crate::processes::Processes;
use crate::recent::Recent;
use crate::silences::waited;
use crate::units::{Netns, Pid, Timestamp};
use crate::unix::Looked;
use crate::verdict::Symptom;

/// Wishes that may wait; beyond, names and looks are missing and nothing else.
const WAITING: usize = 1024;
/// Namespaces that are looked at for one connection.
const PLACES: usize = 16;
/// Processes that are looked at for one listener: a master and its workers.
const WORKERS: usize = 16;
/// A process or a queue that was looked at so lately is not looked at again.
const LATELY: Duration = Duration::from_millis(100);

/// A question to the world, answered by facts, so that a recording holds the answer. What cannot be
/// looked at is not answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// Who is it? `Fact::Process`.
    Process(Pid),
    /// Is the upstream's end of this connection still there, and who holds it? `Fact::Peer`.
    Peer {
        /// Where it may be.
        netns: Netns,
        /// The upstream's address.
        local: SocketAddr,
        /// The gateway's address.
        remote: SocketAddr,
    },
    /// How full is the accept queue of the listener that covers this address? `Fact::Queue`.
    Queue {
        /// Where it listens.
        netns: Netns,
        /// The address that was dialled.
        address: SocketAddr,
    },
    /// What is it doing? `Fact::Doing`.
    Doing(Pid),
    /// What is this UNIX path for who dials it? `Fact::Looked`.
    Path {
        /// Who dials it.
        pid: Pid,
        /// The path, as it was dialled.
        path: String,
    },
    /// Watch UNIX connections from now on: a gateway dials them. Not answered.
    Unix,
    /// Watch failed system calls for a while: a dial failed, or none was seen. Not answered; what
    /// they are comes as `Fact::Call`.
    Calls,
    /// How many files has it open? `Fact::Descriptors`.
    Descriptors(Pid),
    /// How many ephemeral ports are in use towards this address? `Fact::Ports`.
    Ports {
        /// The dialling end's namespace.
        netns: Netns,
        /// The address that was dialled.
        address: SocketAddr,
    },
}

/// What to ask for.
#[derive(Debug)]
pub struct Asking {
    waiting: VecDeque<Wish>,
    /// Processes whose names were asked for.
    asked: Recent<Pid, ()>,
    /// Looks by when they were asked for.
    looked: Recent<Wish, Timestamp>,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            asked: Recent::new(8192, Duration::from_secs(3600)),
            looked: Recent::new(4096, Duration::from_secs(1)),
        }
    }
}

impl Asking {
    /// A task acted: who is it, and who is its master?
    pub fn about(&mut self, at: Timestamp, task: &Task, processes: &Processes) {
        self.name(at, task.pid, processes);
        self.name(at, task.parent, processes);
    }

    /// Each is asked for its name once.
    pub fn name(&mut self, at: Timestamp, pid: Pid, processes: &Processes) {
        let is_new = self.asked.get(&pid).is_none() && processes.known(pid).is_none();
        if pid.0 > 1 && is_new && self.waiting.len() < WAITING {
            self.asked.insert(at, pid, ());
            self.waiting.push_back(Wish::Process(pid));
        }
    }

    /// A number may come again for someone else.
    pub fn forget(&mut self, pid: Pid) {
        self.asked.remove(&pid);
    }

    /// Asks for a look, unless it was just taken.
    pub fn look(&mut self, at: Timestamp, wish: Wish) {
        let lately = self.looked.get(&wish);
        let is_new = lately.is_none_or(|before| at.since(*before) >= LATELY);
        if is_new && self.waiting.len() < WAITING {
            self.looked.insert(at, wish.clone(), at);
            self.waiting.push_back(wish);
        }
    }

    /// An attempt decided a failed answer: what would explain it? Whether anything was asked.
    pub fn why(
        &mut self,
        at: Timestamp,
        (attempt, symptom): (&Attempt, Symptom),
        memory: &Memory,
    ) -> bool {
        if let Some(path) = &attempt.flow.path {
            return self.why_silent(at, attempt, path);
        }
        let (local, remote) = (attempt.flow.remote, attempt.flow.local);
        let netns = attempt.flow.netns;
        let wish = |netns| match symptom {
            Symptom::NoAnswer | Symptom::Truncated if waited(symptom, attempt) => {
                Some(Wish::Peer {
                    netns,
                    local,
                    remote,
                })
            }
            Symptom::ConnectTimeout => Some(Wish::Queue {
                netns,
                address: local,
            }),
            Symptom::Refused
            | Symptom::Unreachable
            | Symptom::ConnectError
            | Symptom::Eof
            | Symptom::Reset
            | Symptom::BadAnswer
            | Symptom::TlsFailure
            | Symptom::NoAttempt
            | Symptom::Relayed
            | Symptom::NoAnswer
            | Symptom::Truncated => None,
        };
        // A container's address is served in a namespace of its own.
        let served = memory
            .listeners
            .serving(local)
            .map(|open| open.listener.netns);
        let mut places = vec![netns];
        places.extend(served.filter(|_| !local.ip().is_loopback()).take(PLACES));
        places.sort_unstable();
        places.dedup();
        let wishes: Vec<Wish> = places.into_iter().filter_map(wish).collect();
        let before = self.waiting.len();
        for wish in wishes {
            self.look(at, wish);
        }
        self.waiting.len() > before
    }

    /// A UNIX upstream lets its gateway wait: what is its process doing, or who should accept?
    fn why_silent(&mut self, at: Timestamp, attempt: &Attempt, path: &str) -> bool {
        if attempt.symptom() != Symptom::NoAnswer {
            return false;
        }
        let (pid, path) = (attempt.pid, path.to_owned());
        self.look(
            at,
            match &attempt.flow.served.server {
                Some(server) => Wish::Doing(server.pid),
                None => Wish::Path { pid, path },
            },
        );
        true
    }

    /// A UNIX path was looked at: why does nobody accept?
    pub fn about_path(&mut self, at: Timestamp, looked: &Looked, processes: &Processes) {
        self.about_holders(at, &looked.holders, processes);
    }

    /// The upstream's end was looked at: who holds it, or who should have accepted it?
    pub fn about_peer(&mut self, at: Timestamp, peer: &Peer, processes: &Processes) {
        // A socket that was reset is found no more; its listener's holders are.
        if !(peer.is_open() && peer.held) {
            let (netns, address) = (peer.netns, peer.local);
            self.look(at, Wish::Queue { netns, address });
        }
        for pid in peer.holders.iter().take(WORKERS) {
            self.name(at, *pid, processes);
            self.look(at, Wish::Doing(*pid));
        }
    }

    /// An owner of listeners ended: does someone hold them still?
    pub fn inheritance(&mut self, at: Timestamp, owner: Pid, listeners: &Listeners) {
        for open in listeners.owned_by(owner) {
            let (netns, address) = (open.listener.netns, open.listener.local);
            self.look(at, Wish::Queue { netns, address });
        }
    }

    /// A queue was looked at: why does nobody accept?
    pub fn about_queue(&mut self, at: Timestamp, queue: &Queue, processes: &Processes) {
        self.about_holders(at, &queue.holders, processes);
    }

    fn about_holders(&mut self, at: Timestamp, holders: &[Pid], processes: &Processes) {
        for pid in holders.iter().take(WORKERS) {
            self.name(at, *pid, processes);
            self.look(at, Wish::Descriptors(*pid));
            self.look(at, Wish::Doing(*pid));
        }
    }

    /// The next wish.
    pub fn pop(&mut self) -> Option<Wish> {
        self.waiting.pop_front()
    }

    /// Whether a wish waits.
    #[must_use]
    pub fn is_wishing(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_taken_once_within_a_moment() {
        let mut asking = Asking::default();
        let wish = Wish::Doing(Pid(7));
        for (at, asks) in [
            (0, true),
            (99, false),
            (100, true),
            (199, false),
            (300, true),
        ] {
            asking.look(Timestamp(at * 1_000_000), wish.clone());
            assert_eq!(asking.pop(), asks.then_some(wish.clone()), "at {at} ms");
        }
    }

    #[test]
    fn wishes_are_bounded() {
        let mut asking = Asking::default();
        for pid in 0..5000 {
            asking.look(Timestamp(0), Wish::Doing(Pid(pid)));
        }
        assert_eq!(std::iter::from_fn(|| asking.pop()).count(), WAITING);
    }

    #[test]
    fn a_queued_connection_asks_for_the_listener_and_a_held_one_for_its_holders() {
        let mut asking = Asking::default();
        let processes = Processes::default();
        let (local, remote) = (
            "10.0.0.1:80".parse().unwrap(),
            "10.0.0.2:4".parse().unwrap(),
        );
        let queued = Peer {
            netns: Netns(1),
            local,
            remote,
            state: 1,
            held: false,
            received: 1,
            heard_at: None,
            unread: 1,
            unsent: 0,
            holders: Vec::new(),
        };
        asking.about_peer(Timestamp(1), &queued, &processes);
        let (netns, address) = (Netns(1), local);
        assert_eq!(asking.pop(), Some(Wish::Queue { netns, address }));
        let holders = vec![Pid(7)];
        let held = Peer {
            held: true,
            holders,
            ..queued
        };
        asking.about_peer(Timestamp(1), &held, &processes);
        assert_eq!(asking.pop(), Some(Wish::Process(Pid(7))));
        assert_eq!(asking.pop(), Some(Wish::Doing(Pid(7))));
        assert_eq!(asking.pop(), None);
    }
}
