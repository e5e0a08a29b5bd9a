//! How much is remembered, against how much may be: for those who watch the watcher.

use super::{Correlator, WAITING};
use crate::notice::Pool;
use crate::pools;
use crate::units::Timestamp;

impl Correlator {
    /// The next pair of a gateway and an upstream whose idle timers were seen at work.
    pub fn poll_pool(&mut self, now: Timestamp) -> Option<Pool> {
        pools::poll(&mut self.memory, now)
    }

    /// What is remembered, how much of it there is, and how much there may be.
    #[must_use]
    pub fn tracked(&self) -> Vec<(&'static str, (usize, usize))> {
        vec![
            ("answers in their grace", (self.waiting.len(), WAITING)),
            ("attempts", self.attempts.waiting.held()),
            ("connections", self.memory.connections.held()),
            ("processes", self.memory.processes.held()),
            ("pods", self.memory.processes.pods.held()),
            ("gateways", self.gateways.held()),
        ]
    }
}
