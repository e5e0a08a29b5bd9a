//! Processes that a verdict would name: each is asked for once.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::Task;
use crate::processes::Processes;
use crate::recent::Recent;
use crate::units::{Pid, Timestamp};

/// Questions that may wait; beyond, names are missing and nothing else.
const WAITING: usize = 1024;

/// Whom to ask for.
#[derive(Debug)]
pub struct Asking {
    waiting: VecDeque<Pid>,
    asked: Recent<Pid, ()>,
}

impl Default for Asking {
    fn default() -> Self {
        let asked = Recent::new(8192, Duration::from_secs(3600));
        Self {
            waiting: VecDeque::new(),
            asked,
        }
    }
}

impl Asking {
    /// A task acted: who is it, and who is its master?
    pub fn about(&mut self, at: Timestamp, task: &Task, processes: &Processes) {
        for pid in [task.pid, task.parent] {
            let is_new = self.asked.get(&pid).is_none() && processes.known(pid).is_none();
            if pid.0 > 1 && is_new && self.waiting.len() < WAITING {
                self.asked.insert(at, pid, ());
                self.waiting.push_back(pid);
            }
        }
    }

    /// A number may come again for someone else.
    pub fn forget(&mut self, pid: Pid) {
        self.asked.remove(&pid);
    }

    /// The next.
    pub fn next(&mut self) -> Option<Pid> {
        self.waiting.pop_front()
    }
}
