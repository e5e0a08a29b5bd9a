//! Processes that crashed and whose sockets stay open until their memory is written.

use crate::attempts::Attempt;
use crate::cause::Cause;
use crate::diagnose::{Judgement, UNEXPLAINED, proven};
use crate::event::Task;
use crate::memory::Memory;
use crate::stalled::Stall;

impl Stall {
    /// Of one that writes its core dump: it may have crashed only after it was given up, for that.
    #[must_use]
    pub fn crashed(&self) -> Judgement {
        match self.struck {
            true => proven(Cause::Crash),
            false => UNEXPLAINED,
        }
    }

    /// It crashed, and its sockets stay open until its memory is written.
    #[must_use]
    pub fn is_dumping(&self) -> bool {
        self.doing.as_ref().is_some_and(|(_, doing)| doing.dumping)
    }
}

/// Whether a fault had struck a process before it was given up.
#[must_use]
pub fn is_struck(server: Option<&Task>, attempt: &Attempt, memory: &Memory) -> bool {
    server.is_some_and(|task| memory.processes.is_struck(task.pid, attempt.at))
}
