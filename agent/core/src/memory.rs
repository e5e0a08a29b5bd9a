//! The recent past in one place: every sense's facts, bounded.

use std::collections::VecDeque;
use std::time::Duration;

use crate::alive::Alive;
use crate::cause::Cause;
use crate::clock::Clock;
use crate::connections::Connections;
use crate::event::{Flow, Lookup, Lost, Task};
use crate::evidence::Failure;
use crate::listeners::Listeners;
use crate::looks::{Looks, Queue};
use crate::packets::Packets;
use crate::processes::Processes;
use crate::recent::Recent;
use crate::timers::{Clocks, Family, Place};
use crate::units::{Netns, Pid, Timestamp};
use crate::unix::Calls;
use crate::unix_listeners::UnixListeners;

/// Records that were lost within this of an answer may have been its own.
const AROUND: Duration = Duration::from_secs(2);
/// The records, as the kernel's counts call them, that name each process which dials UNIX sockets once.
const DIALLERS: &str = "unix-dialler";
/// Failures that are remembered.
pub const FAILURES: usize = 512;
/// Moments of loss that are remembered.
const LOSSES: usize = 256;

/// Records that were lost, and when.
#[derive(Clone, Copy, Debug)]
struct Loss {
    since: Timestamp,
    at: Timestamp,
    count: u64,
    /// They may have told of processes or listeners.
    lasting: bool,
}

/// What is remembered.
#[derive(Debug)]
pub struct Memory {
    /// Connections.
    pub connections: Connections,
    /// Packets.
    pub packets: Packets,
    /// Processes.
    pub processes: Processes,
    /// Listeners.
    pub listeners: Listeners,
    /// What the senses looked at because the core asked.
    pub looks: Looks,
    /// What each process last heard from its name servers.
    pub lookups: Recent<Pid, Lookup>,
    /// Idle timers.
    pub clocks: Clocks,
    /// Whom gateways found alive.
    pub alive: Alive,
    /// UNIX paths and failed calls.
    pub unix: Calls,
    /// Who listens on UNIX paths.
    pub unix_listeners: UnixListeners,
    /// Dates.
    pub clock: Clock,
    failures: Recent<u64, Failure>,
    dialled: Recent<(Netns, u16, String), ()>,
    losses: VecDeque<Loss>,
    missing: Vec<String>,
    /// Flows say what their thread had let go of before.
    pub ordered: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            connections: Connections::default(),
            packets: Packets::default(),
            processes: Processes::default(),
            listeners: Listeners::default(),
            looks: Looks::default(),
            lookups: Recent::new(1024, Duration::from_secs(60)),
            clocks: Clocks::default(),
            alive: Alive::default(),
            unix: Calls::default(),
            unix_listeners: UnixListeners::default(),
            clock: Clock::default(),
            failures: Recent::new(FAILURES, Duration::from_secs(60)),
            dialled: Recent::new(4096, Duration::from_secs(24 * 3600)),
            losses: VecDeque::new(),
            missing: Vec::new(),
            ordered: false,
        }
    }
}

impl Memory {
    /// The senses began.
    pub fn attach(&mut self, clock: Clock, missing: Vec<String>) {
        self.clock = clock;
        self.missing = missing;
    }

    /// Whether a moment lies before the senses were complete.
    #[must_use]
    pub fn is_before(&self, moment: Timestamp) -> bool {
        moment < self.clock.at
    }

    /// Records were lost.
    pub fn lose(&mut self, at: Timestamp, lost: &Lost) {
        if lost.count == 0 {
            return;
        }
        if lost.kind.as_deref().is_none_or(|kind| kind == DIALLERS) {
            self.unix.lose_diallers();
        }
        if self.losses.len() == LOSSES {
            self.losses.pop_front();
        }
        self.losses.push_back(Loss {
            since: lost.since_at.unwrap_or(at),
            at,
            count: lost.count,
            lasting: lost.is_lasting(),
        });
    }

    /// Records of any kind that were lost in a span of time, or around it.
    #[must_use]
    pub fn lost_within(&self, from: Timestamp, until: Timestamp) -> u64 {
        self.lost(from, until, |_| true)
    }

    /// The same, of those alone that may have told of processes or listeners.
    #[must_use]
    pub fn lasting_lost_within(&self, from: Timestamp, until: Timestamp) -> u64 {
        self.lost(from, until, |loss| loss.lasting)
    }

    fn lost(&self, from: Timestamp, until: Timestamp, is_it: impl Fn(&Loss) -> bool) -> u64 {
        let near =
            |loss: &&Loss| loss.since.since(until) <= AROUND && from.since(loss.at) <= AROUND;
        let counts = self.losses.iter().filter(near).filter(|loss| is_it(loss));
        counts.fold(0, |sum, loss| sum.saturating_add(loss.count))
    }

    /// Hooks that this kernel lacks.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// A connection ended. Says for whom an upstream's idle timer was just seen at work.
    pub fn end(&mut self, at: Timestamp, flow: &Flow) -> Option<(Family, Place)> {
        self.alive.end(at, flow);
        let around = (&self.listeners, &self.processes);
        self.clocks.end(at, flow, around)
    }

    /// A listener's queue was looked at, and who holds it.
    pub fn see_queue(&mut self, at: Timestamp, queue: Queue) {
        self.listeners.inherit(&queue, &self.processes);
        self.looks.see_queue(at, queue);
    }

    /// A program dialled a port, and was let down.
    pub fn dial(&mut self, at: Timestamp, flow: &Flow) {
        if let Some(task) = flow.task.as_ref().or(flow.owner.as_ref()) {
            let key = (flow.netns, flow.remote.port(), task.comm.clone());
            self.dialled.insert(at, key, ());
        }
    }

    /// Whether a gateway dials that port too: then it is another upstream, not one that moved.
    #[must_use]
    pub fn is_dialled(&self, netns: Netns, port: u16, gateway: &Task) -> bool {
        self.dialled
            .get(&(netns, port, gateway.comm.clone()))
            .is_some()
    }

    /// An attempt failed for an answer.
    pub fn fail(&mut self, number: u64, failure: Failure) {
        self.failures.insert(failure.at, number, failure);
    }

    /// Why that attempt failed, once it is known.
    pub fn explain(&mut self, number: u64, cause: Cause) {
        if let Some(failure) = self.failures.get_mut(&number) {
            failure.cause = Some(cause);
        }
    }

    /// Failures, newest first.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.failures.range(..).rev().map(|(_, failure)| failure)
    }
}
