//! Answers that a gateway gave by itself: nothing else happened, and all of that would have been seen.

use std::time::Duration;

use probe502_common::{Flow, flag, mark};
use serde::{Deserialize, Serialize};

use crate::attempts::{Attempt, Attempts};
use crate::event::Task;
use crate::fitting::arrival;
use crate::framing::Framing;
use crate::joining::Answer;
use crate::listeners::Open;
use crate::memory::{FAILURES, Memory};
use crate::own_page::Want;
use crate::units::{Pid, Timestamp};

/// For so long after a failure a gateway may hold an upstream for dead (Apache's `retry`, the longest
/// default).
pub const MARKED_DOWN: Duration = Duration::from_secs(60);
/// A rule answers at once. On a busy host its thread waits for its turn.
const WITHOUT_ATTEMPT: Duration = Duration::from_millis(50);
/// What the kernel programs mark, as `probe502_common::mark`, `flag` and `Flow` say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "documented at probe502_common")]
pub struct Marks {
    #[serde(default)]
    pub unwatched: bool,
    #[serde(default)]
    pub swept: bool,
    #[serde(default)]
    pub undialled: bool,
    #[serde(default)]
    pub unasked: bool,
    #[serde(default)]
    pub untroubled: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub long_unasked: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    #[serde(flatten)]
    pub framing: Framing,
}

impl Marks {
    /// Those of a record.
    #[must_use]
    pub fn of(flow: &Flow) -> Self {
        let marked = |bit| flow.socket.marks & bit != 0;
        Self {
            unwatched: flow.socket.flags & flag::UNWATCHED != 0,
            swept: marked(mark::SWEPT),
            undialled: marked(mark::UNDIALLED),
            unasked: marked(mark::UNASKED),
            untroubled: marked(mark::UNTROUBLED),
            long_unasked: marked(mark::LONG_UNASKED),
            framing: Framing::of(flow),
            answered_at: (flow.socket.answered_at != 0)
                .then_some(Timestamp(flow.socket.answered_at)),
        }
    }
}

impl Answer {
    /// It came at once.
    #[must_use]
    pub fn is_at_once(&self) -> bool {
        arrival(self).is_some_and(|arrived| self.at.since(arrived) <= WITHOUT_ATTEMPT)
    }

    /// Besides, since its request came no thread of its process said anything to an upstream.
    #[must_use]
    pub fn is_unasked(&self) -> bool {
        self.is_at_once() && self.request.is_seen && self.flow.marks.unasked && !self.flow.continued
    }

    /// Nor did one make a socket.
    #[must_use]
    pub fn is_untried(&self) -> bool {
        self.is_unasked() && self.flow.marks.undialled
    }
}

/// Whether nothing but the gateway itself can have given this answer.
#[must_use]
pub fn is_its_own(answer: &Answer, attempts: &Attempts, memory: &Memory) -> bool {
    answer.is_untried()
        && answer.flow.marks.untroubled
        // A health check may have found nobody, and failed by what an upstream said.
        && answer.wants_server == Want::No
        && is_known(answer, memory)
        && !asks_unseen(answer, memory)
        && !was_let_down(answer, attempts, memory)
        && !has_looked_up_in_vain(answer, memory)
}

/// Whether who answered listens at that door: where packets tell of answers, anyone's task may be running.
#[must_use]
pub fn is_at_its_door(answer: &Answer, memory: &Memory) -> bool {
    doors(answer, memory).next().is_some()
}

fn doors<'a>(answer: &'a Answer, memory: &'a Memory) -> impl Iterator<Item = &'a Open> {
    let own = memory.listeners.of(&answer.task);
    own.filter(|open| open.listener.local.port() == answer.flow.local.port())
}

/// Since before any failure that may have marked its upstreams down, and without a gap.
#[must_use]
pub fn is_known(answer: &Answer, memory: &Memory) -> bool {
    let is_new = doors(answer, memory).all(|open| !open.listener.before);
    let is_watched = is_new || answer.at.since(memory.clock.at) >= MARKED_DOWN;
    let lost = memory.lost_within(answer.at.minus(MARKED_DOWN), answer.at);
    is_watched && is_at_its_door(answer, memory) && lost == 0
}

/// Whether it, or its master that it may have a connection of, asked where nobody saw it.
fn asks_unseen(answer: &Answer, memory: &Memory) -> bool {
    let pids = [Some(answer.task.pid), master(&answer.task, memory)];
    let unseen = |pid: Pid| memory.unix.asks_unseen(pid, answer.at);
    pids.into_iter().flatten().any(unseen)
}

/// The parent where it is one of the same program, whose other workers share what they learn.
fn master(task: &Task, memory: &Memory) -> Option<Pid> {
    let parent = memory.processes.known(task.parent)?;
    (parent.comm == task.comm).then_some(task.parent)
}

/// Whether its parent may be a master: no other program is, nor the host's init.
fn may_have_siblings(task: &Task, memory: &Memory) -> bool {
    let parent = memory.processes.known(task.parent);
    task.parent.0 > 1 && parent.is_none_or(|parent| parent.comm == task.comm)
}

/// Whether an upstream of the same gateway failed lately, for a request at whatever door: several may
/// lead to the same upstreams.
fn was_let_down(answer: &Answer, attempts: &Attempts, memory: &Memory) -> bool {
    let task = &answer.task;
    let lately = |at: Timestamp| answer.at.since(at) <= MARKED_DOWN;
    let has_siblings = may_have_siblings(task, memory);
    let is_ours = |pid: Pid, parent: Pid, comm: &str| {
        pid == task.pid || has_siblings && parent == task.parent && comm == task.comm
    };
    let failed = memory.failures().any(|failure| {
        let other = &failure.task;
        is_ours(other.pid, other.parent, &other.comm) && lately(failure.at)
    });
    let master = master(task, memory);
    let is_kin = |attempt: &Attempt| {
        let own = attempt.flow.task.as_ref().or(attempt.flow.owner.as_ref());
        attempt.pid == task.pid || own.is_some_and(|own| Some(own.parent) == master)
    };
    let loose = attempts
        .all()
        .any(|attempt| is_kin(attempt) && !attempt.is_weak() && lately(attempt.at));
    failed || loose || memory.failures().count() >= FAILURES
}

/// Where a name did not resolve, there may be nobody to ask. Who waits for a silent name server does
/// not answer at once.
fn has_looked_up_in_vain(answer: &Answer, memory: &Memory) -> bool {
    let lookup = memory.lookups.get(&answer.task.pid);
    lookup.is_some_and(|lookup| lookup.good_at < lookup.failed_at)
}
