//! Places where somebody took a gateway's connections: as long as one lives, its checks find somebody.

use std::time::Duration;

use crate::ends::was_left;
use crate::event::{Flow, Role};
use crate::recent::Recent;
use crate::units::{Pid, Timestamp};
use crate::unix::Target;

/// Places that are remembered.
const KNOWN: usize = 1024;
/// Checks come more often than that. A judgement of ours.
const LATELY: Duration = Duration::from_secs(600);

/// Who was last found alive by whom, and when.
#[derive(Debug)]
pub struct Alive {
    seen: Recent<(Pid, Target), Timestamp>,
}

impl Default for Alive {
    fn default() -> Self {
        Self {
            seen: Recent::new(KNOWN, LATELY),
        }
    }
}

impl Alive {
    /// A connection ended: a check that goes well ends in its gateway's own close, most with a RST.
    pub fn end(&mut self, at: Timestamp, flow: &Flow) {
        let holder = flow.owner.as_ref().or(flow.task.as_ref());
        let is_good = flow.established && (flow.heard_bytes > 0 || !was_left(flow));
        if let Some(holder) = holder.filter(|_| is_good && flow.role == Role::Dialled) {
            self.seen.insert(at, (holder.pid, flow.target()), at);
        }
    }

    /// Where this process found somebody lately, and when it last did.
    pub fn of(&self, pid: Pid, at: Timestamp) -> impl Iterator<Item = (&Target, Timestamp)> {
        let own = self.seen.range(..).filter(move |((by, _), _)| *by == pid);
        own.map(|((_, place), seen)| (place, *seen))
            .filter(move |(_, seen)| at.since(*seen) <= LATELY)
    }
}
