//! Events in, verdicts out: answers wait their grace here, then are joined and judged.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::Event;
use crate::units::{Pid, Timestamp};
use crate::verdict::Verdict;

/// How long an answer waits for late facts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Every answer: the same drain may still hold its kernel facts.
    pub least: Duration,
    /// Where the kernel log has yet to tell of an OOM kill.
    pub oom_report: Duration,
    /// Where the upstream process may yet exit: an interpreter closes 30–230 ms before it does.
    pub late_exit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            least: Duration::from_millis(30),
            oom_report: Duration::from_millis(80),
            late_exit: Duration::from_millis(800),
        }
    }
}

/// Joins answers to their upstream attempts and those to what happened to them.
#[derive(Debug, Default)]
pub struct Correlator {
    verdicts: VecDeque<Verdict>,
}

impl Correlator {
    /// An empty memory.
    #[must_use]
    pub fn new(_settings: Settings) -> Self {
        Self::default()
    }

    /// Takes in one fact.
    pub fn handle_event(&mut self, _event: Event) {}

    /// Lets time pass: judges what has waited long enough.
    pub fn handle_timeout(&mut self, _now: Timestamp) {}

    /// When `handle_timeout` is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// The next verdict, in the answers' order of judgement.
    pub fn poll_verdict(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    /// A process that a pending verdict would name, and that is not known. Each is asked for once.
    pub fn poll_unknown_process(&mut self) -> Option<Pid> {
        None
    }
}
