//! Earlier failures of a gateway, after which it may hold its upstreams for dead.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::event::Task;
use crate::joining::Answer;
use crate::memory::Memory;
use crate::units::Timestamp;
use crate::unix::Target;
use crate::verdict::Symptom;

/// How long nginx holds an upstream for dead (`fail_timeout`).
const MARKED_DOWN: Duration = Duration::from_secs(10);
/// An answer without any attempt comes at once.
const WITHOUT_ATTEMPT: Duration = Duration::from_millis(20);
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

/// Failures that may have marked every upstream down before this answer, oldest first.
#[must_use]
pub fn before(answer: &Answer, memory: &Memory) -> Vec<Failure> {
    let at_once = crate::fitting::arrival(answer)
        .is_some_and(|arrived| answer.at.since(arrived) <= WITHOUT_ATTEMPT);
    // Where requests change threads, an attempt may have been let go of unseen.
    if !at_once || answer.manner.hops {
        return Vec::new();
    }
    let task = &answer.task;
    let is_ours = |failure: &&Failure| {
        let sibling = failure.task.pid == task.pid
            || failure.task.parent == task.parent && failure.task.comm == task.comm;
        sibling
            && failure.port == answer.flow.local.port()
            && failure.at <= answer.at
            && answer.at.since(failure.at) <= MARKED_DOWN
    };
    let mut last: Vec<Failure> = memory.failures().filter(is_ours).cloned().collect();
    // Alone in its group, a server is never marked down (nginx: ngx_http_upstream_module, `server`).
    let tried: BTreeSet<_> = last.iter().flat_map(|failure| &failure.tried).collect();
    if tried.len() < 2 {
        return Vec::new();
    }
    last.truncate(SHOWN);
    last.reverse();
    last
}
