//! How gateway processes go about it, learned from what was seen: whether order proves anything.

use std::time::Duration;

use crate::event::Flow;
use crate::joining::{Answer, Joined};
use crate::recent::Recent;
use crate::units::{Pid, Timestamp};
use crate::verdict::Join;

/// What is known of the processes that answer.
#[derive(Debug)]
pub struct Habits {
    /// Their requests change threads: goroutines, thread pools.
    hoppers: Recent<Pid, ()>,
    /// They answer first and let go then: what they let go of last is an earlier request's.
    late: Recent<Pid, ()>,
}

impl Default for Habits {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            hoppers: Recent::new(1024, hour),
            late: Recent::new(1024, hour),
        }
    }
}

impl Habits {
    /// Whether requests change threads in it.
    #[must_use]
    pub fn hops(&self, pid: Pid) -> bool {
        self.hoppers.get(&pid).is_some()
    }

    /// Whether what it let go of right before an answer is that answer's. Several event loops in one
    /// process put writes off to their next turn (Envoy).
    #[must_use]
    pub fn is_orderly(&self, pid: Pid, threads: u8) -> bool {
        threads <= 1 && !self.hops(pid) && self.late.get(&pid).is_none()
    }

    /// A dialled connection ended: asked by one thread and given up by another.
    pub fn ended(&mut self, at: Timestamp, flow: &Flow) {
        let (Some(owner), Some(task)) = (&flow.owner, &flow.task) else {
            return;
        };
        let unanswered = flow.said > 0 && flow.heard_bytes == 0;
        if unanswered && owner.pid == task.pid && owner.tid != task.tid {
            self.hoppers.insert(at, task.pid, ());
        }
    }

    /// An answer was joined by its request line: its threads and its order are seen.
    pub fn joined(&mut self, answer: &Answer, joined: &Joined) {
        let Some(last) = joined.attempts.last() else {
            return;
        };
        if joined.by != Join::RequestLine {
            return;
        }
        if last.tid != answer.task.tid {
            self.hoppers.insert(answer.at, answer.task.pid, ());
        } else if last.relayed.is_none() && last.at > answer.at {
            self.late.insert(answer.at, answer.task.pid, ());
        }
    }
}
