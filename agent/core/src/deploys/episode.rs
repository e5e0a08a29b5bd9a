//! One service that was told to stop, stopped, or was replaced: what is known of it so far.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::cause::Cause;
use crate::event::{Listener, Signal, Task};
use crate::listeners::{Open, covers};
use crate::seeking::Refusal;
use crate::units::{Netns, Pid, Timestamp};

/// After the last step or failure, one more may follow: the slowest verdict takes 1.7 s.
const SETTLE: Duration = Duration::from_secs(3);
/// A service that nothing has replaced by then has stopped. A judgement of ours.
const AWAY: Duration = Duration::from_secs(30);
/// A master that was told to reload begins to replace its workers by then, or had other orders.
const RELOAD: Duration = Duration::from_secs(10);
/// An interpreter closes its sockets before it exits, so long at most.
const BEFORE: Duration = Duration::from_secs(1);
/// Failures whose moments are kept, to know those that follow from them.
const MOMENTS: usize = 1024;
/// Orders and workers that are kept: more are counted nowhere.
const KEPT: usize = 256;

pub const HUP: u8 = 1;

/// A listener's place, and how it was left.
#[derive(Clone, Debug)]
pub struct Left {
    pub listener: Listener,
    /// When it closed, and who closed it last.
    pub closed: Option<(Timestamp, Task)>,
    /// Who listens there since.
    pub successor: Option<Open>,
}

impl Left {
    /// Whether it took connections to this address; loopback means something within a namespace only.
    pub fn covers(&self, netns: Netns, address: SocketAddr) -> bool {
        let here = !address.ip().is_loopback() || netns == self.listener.netns;
        here && address.port() == self.listener.local.port() && covers(&self.listener, address.ip())
    }

    /// Whether nobody was found there when a connection was refused.
    pub fn was_empty(&self, refusal: Refusal) -> bool {
        let Refusal { at, unfound } = refusal;
        let closed = self.closed.as_ref();
        let closed = closed.is_some_and(|(closed, _)| *closed <= at.plus(unfound));
        let opened = self.successor.as_ref().map(|open| open.at.plus(unfound));
        closed && opened.is_none_or(|opened| opened >= at)
    }
}

/// Failed answers that it was the reason of.
#[derive(Debug, Default)]
pub struct Failed {
    pub causes: BTreeMap<Cause, u64>,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// The last try that failed because nobody took it.
    pub last_untaken: Option<Timestamp>,
    /// Requests that it had begun to serve: how many, until when, and how long the oldest had run.
    pub cut_off: u64,
    pub cut_at: Option<Timestamp>,
    pub oldest: Duration,
    /// Closes of kept connections that a request met.
    pub races: u64,
    moments: BTreeSet<Timestamp>,
}

impl Failed {
    pub fn count(&self) -> u64 {
        self.causes.values().sum()
    }

    pub fn add(&mut self, (tried, answered): (Timestamp, Timestamp), cause: Cause) {
        *self.causes.entry(cause).or_default() += 1;
        self.first = Some(self.first.map_or(answered, |first| first.min(answered)));
        self.last = Some(self.last.map_or(answered, |last| last.max(answered)));
        if self.moments.len() < MOMENTS {
            self.moments.insert(tried);
        }
    }

    /// Whether the failure at this moment is one of these.
    pub fn has(&self, tried: Timestamp) -> bool {
        self.moments.contains(&tried)
    }
}

/// What is known of it so far.
#[derive(Debug)]
pub struct Episode {
    /// Who owned the listeners.
    pub owner: Task,
    pub began: Timestamp,
    pub places: Vec<Left>,
    /// What its owner was told, oldest first.
    pub orders: Vec<(Timestamp, Signal)>,
    /// Workers that were told to stop, when, and by whom first.
    pub stopped: BTreeMap<Pid, (Timestamp, Signal)>,
    /// Workers that ended.
    pub ended: BTreeMap<Pid, (Timestamp, Task)>,
    /// When the owner ended.
    pub exit: Option<Timestamp>,
    /// Its listeners went on in another process.
    pub heir: Option<Task>,
    /// Connections that waited to be accepted and were reset: how many, and when the first was.
    pub queued: Option<(u64, Timestamp)>,
    /// The last answer that it gave, as far as was seen.
    pub answered: Option<Timestamp>,
    pub failed: Failed,
    /// It was told as stopped, with so many failures.
    pub told: bool,
    /// A reload that is done: what comes next is another story.
    pub is_over: bool,
}

impl Episode {
    pub fn new(owner: Task, began: Timestamp) -> Self {
        Self {
            owner,
            began,
            places: Vec::new(),
            orders: Vec::new(),
            stopped: BTreeMap::new(),
            ended: BTreeMap::new(),
            exit: None,
            heir: None,
            queued: None,
            answered: None,
            failed: Failed::default(),
            told: false,
            is_over: false,
        }
    }

    /// Its owner was told something.
    pub fn order(&mut self, at: Timestamp, signal: &Signal) {
        let same = |(_, other): &(Timestamp, Signal)| {
            other.number == signal.number && other.sender.pid == signal.sender.pid
        };
        if !self.orders.iter().any(same) && self.orders.len() < KEPT {
            self.orders.push((at, signal.clone()));
        }
    }

    /// A worker was told to stop.
    pub fn stop(&mut self, at: Timestamp, signal: &Signal) {
        if self.stopped.len() < KEPT {
            let order = (at, signal.clone());
            self.stopped.entry(signal.target.pid).or_insert(order);
        }
    }

    /// The owner or a worker ended.
    pub fn bury(&mut self, at: Timestamp, task: &Task) {
        if task.pid == self.owner.pid {
            self.exit = Some(at);
        } else if self.ended.len() < KEPT {
            self.ended.insert(task.pid, (at, task.clone()));
        }
    }

    /// A process that is one of its workers by descent: with a program's other children it shares no name.
    pub fn is_worker(&self, task: &Task) -> bool {
        self.stopped.contains_key(&task.pid)
            || task.parent == self.owner.pid && task.comm == self.owner.comm
    }

    /// Whether this process belongs to what stopped, and not to what replaces it.
    pub fn is_old(&self, task: &Task) -> bool {
        if self.heir.as_ref().is_some_and(|heir| heir.pid == task.pid) {
            return false;
        }
        let named = task.pid == self.owner.pid
            || self.stopped.contains_key(&task.pid)
            || self.ended.contains_key(&task.pid);
        named || !self.is_reload() && self.is_worker(task)
    }

    /// Whether its owner lives, and what it is told belongs to this story.
    pub fn is_alive(&self) -> bool {
        self.exit.is_none() && !self.is_over
    }

    /// Whether some workers have left, and none that was told to is still there.
    pub fn has_reloaded(&self) -> bool {
        let left = |pid| self.ended.contains_key(pid);
        !self.ended.is_empty() && self.stopped.keys().all(left)
    }

    /// A moment at which it may already have let go.
    pub fn is_within(&self, at: Timestamp) -> bool {
        at.plus(BEFORE) >= self.began
    }

    /// So far it was told nothing but to reload, and listens on.
    pub fn is_reload(&self) -> bool {
        let reload = |(_, signal): &(Timestamp, Signal)| signal.number == HUP;
        !self.orders.is_empty()
            && self.orders.iter().all(reload)
            && self.exit.is_none()
            && self.places.iter().all(|place| place.closed.is_none())
    }

    /// Whether every listener that closed has a successor, or none had to close.
    pub fn is_replaced(&self) -> bool {
        let filled = |place: &Left| place.successor.is_some();
        !self.places.is_empty() && self.places.iter().all(filled) || self.heir.is_some()
    }

    /// When the last of its listeners closed.
    pub fn closed(&self) -> Option<Timestamp> {
        let closed = self.places.iter().filter_map(|place| place.closed.as_ref());
        closed.map(|(at, _)| *at).max()
    }

    /// When the last of its successors began to listen.
    pub fn succeeded(&self) -> Option<Timestamp> {
        let opened = self
            .places
            .iter()
            .filter_map(|place| place.successor.as_ref());
        opened.map(|open| open.at).max()
    }

    /// How long nobody listened, at the worst of its addresses.
    pub fn gap(&self) -> Option<Duration> {
        if self.heir.is_some() {
            return Some(Duration::ZERO);
        }
        let gap = |place: &Left| match (&place.closed, &place.successor) {
            (Some((closed, _)), Some(open)) => Some(open.at.since(*closed)),
            (None, _) => Some(Duration::ZERO),
            (Some(_), None) => None,
        };
        let gaps: Option<Vec<Duration>> = self.places.iter().map(gap).collect();
        gaps?.into_iter().max()
    }

    /// When there is something to tell, or nothing more to expect.
    pub fn due(&self) -> Option<Timestamp> {
        let ended = self.ended.values().map(|(at, _)| *at).max();
        if self.is_reload() {
            let left = |pid| !self.ended.contains_key(pid);
            let at_work = self.stopped.keys().any(left);
            let settled = ended.map(|at| at.max(self.failed.last.unwrap_or_default()).plus(SETTLE));
            return (!at_work).then(|| settled.unwrap_or(self.began.plus(RELOAD)));
        }
        let gone = self.exit.or(self.closed());
        if self.is_replaced() {
            let last = gone?.max(self.succeeded().unwrap_or(self.began));
            return Some(last.max(self.failed.last.unwrap_or_default()).plus(SETTLE));
        }
        (!self.told).then_some(gone?.plus(AWAY))
    }
}
