//! Earlier failures of a gateway, after which it may hold its upstreams for dead.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::event::Task;
use crate::joining::Answer;
use crate::memory::Memory;
use crate::own_answer::MARKED_DOWN;
use crate::own_page::Want;
use crate::units::Timestamp;
use crate::unix::Target;
use crate::verdict::Symptom;

/// How long nginx holds an upstream for dead (`fail_timeout`).
const BY_NGINX: Duration = Duration::from_secs(10);
/// Earlier failures that a verdict lists.
const SHOWN: usize = 4;

/// An earlier failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// The gateway's task.
    pub task: Task,
    /// The port that the gateway was asked on.
    pub port: u16,
    /// The address that it dialled last.
    pub upstream: Target,
    /// All that it dialled for that request.
    pub tried: Vec<Target>,
    /// What it saw.
    pub symptom: Symptom,
    /// Why, once it was judged.
    pub cause: Option<crate::cause::Cause>,
}

/// What the same process dialled in vain for requests at its other doors, and never for one at this,
/// where it is known to dial others.
#[must_use]
pub fn elsewhere(answer: &Answer, memory: &Memory) -> Vec<Target> {
    let same = |failure: &&Failure| failure.task.pid == answer.task.pid;
    let is_here = |failure: &&Failure| failure.port == answer.flow.local.port();
    let (here, other): (Vec<&Failure>, Vec<&Failure>) =
        memory.failures().filter(same).partition(is_here);
    let here: BTreeSet<&Target> = here.iter().flat_map(|failure| &failure.tried).collect();
    if here.is_empty() {
        return Vec::new();
    }
    let other: BTreeSet<&Target> = other.iter().flat_map(|failure| &failure.tried).collect();
    other
        .difference(&here)
        .map(|target| (*target).clone())
        .collect()
}

/// Failures that may have marked every upstream down before this answer, oldest first.
#[must_use]
pub fn before(answer: &Answer, memory: &Memory) -> Vec<Failure> {
    let untried = answer.is_untried();
    // A thread that keeps its requests would have let go of an attempt before it answered.
    let is_told_by_order = answer.is_at_once() && !answer.manner.hops;
    // HAProxy marks a server down for what its checks find, never for a request's failure.
    let is_by_checks = answer.wants_server == Want::Maybe;
    if !untried && !is_told_by_order || is_by_checks {
        return Vec::new();
    }
    let task = &answer.task;
    let marked_down = if task.comm == "nginx" {
        BY_NGINX
    } else {
        MARKED_DOWN
    };
    let is_ours = |failure: &&Failure| {
        let sibling = failure.task.pid == task.pid
            || failure.task.parent == task.parent && failure.task.comm == task.comm;
        sibling
            && failure.port == answer.flow.local.port()
            && failure.at <= answer.at
            && answer.at.since(failure.at) <= marked_down
    };
    let mut last: Vec<Failure> = memory.failures().filter(is_ours).cloned().collect();
    // Alone in its group, a server is never marked down (nginx: ngx_http_upstream_module, `server`).
    let tried: BTreeSet<_> = last.iter().flat_map(|failure| &failure.tried).collect();
    let needed = if untried && answer.wants_server == Want::Yes {
        1
    } else {
        2
    };
    if tried.len() < needed {
        return Vec::new();
    }
    last.truncate(SHOWN);
    last.reverse();
    last
}
