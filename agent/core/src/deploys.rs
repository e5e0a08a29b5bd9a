//! The deploy story: a service that is told to stop, stops and comes back, and what failed meanwhile.

mod episode;
mod failing;
mod steps;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cause::Cause;
use crate::event::{Death, Event, Fact, Flow, How, Listener, Role, Signal, Task};
use crate::evidence::Evidence;
use crate::listeners::Open;
use crate::listeners::owners::{heir, is_alike};
use crate::looks::Queue;
use crate::memory::Memory;
use crate::notice::Deploy;
use crate::units::{Pid, Timestamp};
use episode::{Episode, HUP, Left};

/// Services that are followed at once; beyond, the oldest is forgotten.
const FOLLOWED: usize = 256;
/// A service that has not come back by then is not waited for.
const MEMORY: Duration = Duration::from_secs(3600);
/// A process that began to listen beside another so shortly before is its successor.
const BESIDE: Duration = Duration::from_secs(300);
/// HUP, INT, QUIT, KILL, TERM: orders to reload, to stop, or to be gone.
const ORDERS: [u8; 5] = [HUP, 2, 3, 9, 15];
const KILL: u8 = 9;

/// Services that stop, by the order in which they began to.
#[derive(Debug, Default)]
pub struct Deploys {
    followed: BTreeMap<u64, Episode>,
    next: u64,
}

impl Deploys {
    /// Takes in what bears on it, before it is remembered.
    pub fn heed(&mut self, event: &Event, memory: &Memory) {
        let at = event.at;
        if let Fact::Signal(signal) = &event.fact {
            self.ordered(at, signal, memory);
        } else if let Fact::Death(death) = &event.fact {
            self.died(at, death, memory);
        } else if let Fact::Listens(listener) = &event.fact {
            self.opened(at, listener);
        } else if let Fact::Listened(listener) = &event.fact {
            self.closed(at, listener, memory);
        } else if let Fact::Ended(flow) = &event.fact {
            self.ended(at, flow);
        } else if let Fact::Queue(queue) = &event.fact {
            self.held(queue, memory);
        }
    }

    /// An answer failed for this reason.
    pub fn judged(&mut self, evidence: &Evidence, cause: Cause) {
        for episode in self.followed.values_mut().rev() {
            if failing::take(episode, evidence, cause) {
                return;
            }
        }
    }

    /// When the next is due.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.followed.values().filter_map(Episode::due).min()
    }

    /// The stories that are due; whether anything was decided.
    pub fn pass(&mut self, now: Timestamp, memory: &Memory) -> (Vec<Deploy>, bool) {
        let is_due = |episode: &Episode| episode.due().is_some_and(|due| due <= now);
        let due = self.followed.iter().filter(|(_, one)| is_due(one));
        let due: Vec<u64> = due.map(|(number, _)| *number).collect();
        let told = due.iter().filter_map(|number| self.decide(*number, memory));
        (told.collect(), !due.is_empty())
    }

    /// Nothing follows: what has had failures is told as it stands.
    pub fn end(&mut self, memory: &Memory) -> Vec<Deploy> {
        let open = std::mem::take(&mut self.followed);
        let worth = |episode: &Episode| !episode.told && episode.failed.count() > 0;
        let told = open.into_values().filter(worth);
        told.filter_map(|episode| words::tell(&episode, memory))
            .collect()
    }

    fn decide(&mut self, number: u64, memory: &Memory) -> Option<Deploy> {
        let mut episode = self.followed.remove(&number)?;
        let told = words::tell(&episode, memory);
        if !episode.is_replaced() && !episode.is_reload() {
            episode.told = true;
            self.followed.insert(number, episode);
        }
        told
    }

    fn ordered(&mut self, at: Timestamp, signal: &Signal, memory: &Memory) {
        let target = &signal.target;
        let own = signal.sender.pid == target.pid;
        if own || !ORDERS.contains(&signal.number) || signal.kernel && signal.number == KILL {
            return;
        }
        self.split(signal);
        if let Some(episode) = self.of(target.pid) {
            episode.order(at, signal);
        } else if let Some(episode) = self.parent_of(target) {
            episode.stop(at, signal);
        } else if let Some(episode) = self.begin(at, target, memory) {
            episode.order(at, signal);
        }
    }

    /// A reload that is done is a story of its own, whatever comes next.
    fn split(&mut self, signal: &Signal) {
        let episode = self.of(signal.target.pid);
        if let Some(episode) = episode.filter(|one| one.is_reload() && one.has_reloaded()) {
            episode.is_over = true;
        }
    }

    fn died(&mut self, at: Timestamp, death: &Death, memory: &Memory) {
        let task = &death.task;
        let known = if self.of(task.pid).is_some() {
            self.of(task.pid)
        } else if self.worker_of(task).is_some() {
            self.worker_of(task)
        } else {
            self.begin(at, task, memory)
        };
        if let Some(episode) = known {
            episode.bury(at, task);
            episode.answered = episode.answered.max(death.answered_at);
        }
    }

    fn opened(&mut self, at: Timestamp, listener: &Listener) {
        // The dump shows what was there before.
        if listener.before {
            return;
        }
        for episode in self.followed.values_mut().filter(|one| !one.is_over) {
            let owner = episode.owner.pid;
            let fits = |left: &&mut Left| {
                let same = left.listener.netns == listener.netns;
                let other = left.closed.is_some() || listener.task.pid != owner;
                same && other && left.successor.is_none() && is_alike(&left.listener, listener)
            };
            for left in episode.places.iter_mut().filter(fits) {
                let listener = listener.clone();
                left.successor = Some(Open { at, listener });
            }
        }
    }

    fn closed(&mut self, at: Timestamp, listener: &Listener, memory: &Memory) {
        let open = memory.listeners.owner(listener);
        let owner = open
            .map_or(&listener.task, |open| &open.listener.task)
            .clone();
        let its = |episode: &&mut Episode| {
            let owned = [owner.pid, listener.task.pid].contains(&episode.owner.pid);
            !episode.is_over && (owned || episode.is_worker(&listener.task))
        };
        let known = self.followed.values_mut().rev().find(its);
        let episode = match known {
            Some(known) => Some(known),
            None => self.begin(at, &owner, memory),
        };
        let is_it = |left: &&mut Left| {
            let other = &left.listener;
            let local = open.map_or(listener.local, |open| open.listener.local);
            other.netns == listener.netns && other.local == local && left.closed.is_none()
        };
        if let Some(left) = episode.and_then(|episode| episode.places.iter_mut().find(is_it)) {
            left.closed = Some((at, listener.task.clone()));
        }
    }

    fn ended(&mut self, at: Timestamp, flow: &Flow) {
        if flow.role != Role::Accepted {
            return;
        }
        let Some(task) = &flow.task else { return };
        let mut all = self.followed.values_mut().rev();
        let Some(episode) = all.find(|one| !one.is_over && one.is_old(task)) else {
            return;
        };
        if flow.how == How::Queued {
            let (count, first) = episode.queued.unwrap_or((0, at));
            episode.queued = Some((count + 1, first));
        }
    }

    /// A look showed who holds a listener.
    fn held(&mut self, queue: &Queue, memory: &Memory) {
        let here = |left: &Left| {
            let place = (left.listener.netns, left.listener.local);
            place == (queue.netns, queue.local) && left.closed.is_none()
        };
        let orphaned =
            |episode: &&mut Episode| episode.exit.is_some() && episode.places.iter().any(here);
        for episode in self.followed.values_mut().filter(orphaned) {
            let heir = heir(&queue.holders, &memory.processes);
            episode.heir = episode.heir.take().or(heir);
        }
    }

    /// Follows a process that owns a listener.
    fn begin(&mut self, at: Timestamp, owner: &Task, memory: &Memory) -> Option<&mut Episode> {
        let owned = memory.listeners.owned_by(owner.pid);
        let left = |open: &Open| Left {
            listener: open.listener.clone(),
            closed: None,
            successor: beside(open, (at, owner), memory),
        };
        let places: Vec<Left> = owned.map(left).collect();
        if places.is_empty() {
            return None;
        }
        let old = |episode: &Episode| at.since(episode.began) > MEMORY;
        self.followed.retain(|_, episode| !old(episode));
        if self.followed.len() >= FOLLOWED {
            self.followed.pop_first();
        }
        self.next += 1;
        let mut episode = Episode::new(owner.clone(), at);
        episode.places = places;
        Some(self.followed.entry(self.next).or_insert(episode))
    }

    fn of(&mut self, owner: Pid) -> Option<&mut Episode> {
        let mut all = self.followed.values_mut().rev();
        all.find(|episode| episode.owner.pid == owner && episode.is_alive())
    }

    fn parent_of(&mut self, task: &Task) -> Option<&mut Episode> {
        let mut all = self.followed.values_mut().rev();
        all.find(|one| !one.is_over && (one.owner.pid == task.parent || one.is_worker(task)))
    }

    fn worker_of(&mut self, task: &Task) -> Option<&mut Episode> {
        let mut all = self.followed.values_mut().rev();
        all.find(|episode| !episode.is_over && episode.is_worker(task))
    }
}

/// Who began to listen there just before, beside the one that is to go.
fn beside(open: &Open, (at, owner): (Timestamp, &Task), memory: &Memory) -> Option<Open> {
    let fits = |other: &&Open| {
        let listener = &other.listener;
        let fresh = !listener.before && at.since(other.at) <= BESIDE;
        fresh && listener.task.pid != owner.pid && listener.task.parent != owner.pid
    };
    let others = memory.listeners.beside(&open.listener).filter(fits);
    others.max_by_key(|other| other.at).cloned()
}
