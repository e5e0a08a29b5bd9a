//! What spans more than one answer, and when it is told.

use std::collections::VecDeque;

use crate::attempts::Attempts;
use crate::cause::Cause;
use crate::deploys::Deploys;
use crate::event::{Event, Flow};
use crate::evidence::Evidence;
use crate::memory::Memory;
use crate::near::Nears;
use crate::notice::Notice;
use crate::units::Timestamp;
use crate::warnings::Warnings;

/// Everything besides verdicts.
#[derive(Debug, Default)]
pub struct Stories {
    nears: Nears,
    warnings: Warnings,
    deploys: Deploys,
    notices: VecDeque<Notice>,
    acted: bool,
}

impl Stories {
    /// Takes in what bears on more than one answer, before it is remembered.
    pub fn heed(&mut self, event: &Event, memory: &Memory) {
        self.deploys.heed(event, memory);
    }

    /// An answer failed for this reason.
    pub fn judged(&mut self, evidence: &Evidence, cause: Cause) {
        self.deploys.judged(evidence, cause);
    }

    /// Nothing follows.
    pub fn end(&mut self, memory: &Memory) {
        let deploys = self.deploys.end(memory).into_iter();
        self.notices
            .extend(deploys.map(Box::new).map(Notice::Deploy));
    }

    /// A retry was answered.
    pub fn rescued(&mut self, at: Timestamp, by: &Flow) {
        self.nears.rescue(at, by);
    }

    /// A connection ended.
    pub fn ended(&mut self, at: Timestamp, flow: &Flow, memory: &mut Memory) {
        let task = flow.task.as_ref().or(flow.owner.as_ref());
        if let Some((pair, task)) = memory.end(at, flow).zip(task) {
            self.warnings.expect(at, pair, task.clone());
        }
    }

    /// Takes in what the last event added.
    pub fn follow(&mut self, attempts: &mut Attempts) {
        while let Some(attempt) = attempts.poll_added() {
            self.nears.expect(attempt);
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, now: Timestamp, attempts: &mut Attempts, memory: &Memory) {
        let (nears, decided) = self.nears.pass(now, attempts, memory);
        let (warnings, warned) = self.warnings.pass(now, memory);
        let (deploys, told) = self.deploys.pass(now, memory);
        self.acted |= decided || warned || told;
        let warnings = warnings.into_iter().map(Box::new).map(Notice::Warning);
        let nears = nears.into_iter().map(Box::new).map(Notice::NearMiss);
        let deploys = deploys.into_iter().map(Box::new).map(Notice::Deploy);
        self.notices.extend(nears.chain(warnings).chain(deploys));
    }

    /// When something is next due.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.nears
            .due()
            .into_iter()
            .chain(self.warnings.due())
            .chain(self.deploys.due())
            .min()
    }

    /// The next to tell.
    pub fn poll(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Whether time decided anything since this was last asked.
    pub fn has_acted(&mut self) -> bool {
        std::mem::take(&mut self.acted)
    }
}
