//! How gateway processes go about it, learned from what was seen: whether order proves anything.

use std::time::Duration;

use crate::event::Flow;
use crate::joining::{Answer, Joined};
use crate::recent::Recent;
use crate::units::{Pid, Timestamp};
use crate::verdict::Join;

/// How one process goes about it.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// It was seen to move a request from thread to thread: goroutines, thread pools.
    pub hops: bool,
    /// It was seen to answer first and let go then: what it let go of last is another request's.
    pub late: bool,
    /// What it let go of right before an answer is that answer's: it has one thread. Several event
    /// loops in one process put writes off to their next turn (Envoy).
    pub orderly: bool,
    /// Whether any of this was seen yet, or needs not be.
    pub known: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            hops: false,
            late: false,
            orderly: true,
            known: true,
        }
    }
}

/// What is known of the processes that answer.
#[derive(Debug)]
pub struct Habits {
    /// Their requests change threads: goroutines, thread pools.
    hoppers: Recent<Pid, ()>,
    /// They answer first and let go then: what they let go of last is an earlier request's.
    late: Recent<Pid, ()>,
    /// They let go first.
    prompt: Recent<Pid, ()>,
}

impl Default for Habits {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            hoppers: Recent::new(1024, hour),
            late: Recent::new(1024, hour),
            prompt: Recent::new(1024, hour),
        }
    }
}

impl Habits {
    /// How a process of so many threads goes about it.
    #[must_use]
    pub fn of(&self, pid: Pid, threads: u8) -> Manner {
        let hops = self.hoppers.get(&pid).is_some();
        let late = self.late.get(&pid).is_some();
        let prompt = self.prompt.get(&pid).is_some();
        let orderly = threads <= 1 && !hops && !late;
        Manner {
            hops,
            late,
            orderly,
            known: hops || late || prompt || orderly,
        }
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
        let seen = match joined.by {
            Join::RequestLine => joined.rivals.is_empty(),
            Join::TaskOrder | Join::Time | Join::None => false,
        };
        if !seen {
            return;
        }
        if last.tid != answer.task.tid {
            self.hoppers.insert(answer.at, answer.task.pid, ());
        } else if last.relayed.is_none() && last.at > answer.at {
            self.late.insert(answer.at, answer.task.pid, ());
        } else if last.relayed.is_none() {
            self.prompt.insert(answer.at, answer.task.pid, ());
        }
    }
}
