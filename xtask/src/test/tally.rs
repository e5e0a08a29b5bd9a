//! What passed, failed and was skipped, over all runners.

use std::process::Command;
use std::time::Instant;

use crate::process;

/// The sums, with a name for each failure and a reason for each skip.
#[derive(Debug, Default, PartialEq)]
pub struct Tally {
    ok: usize,
    failures: Vec<String>,
    skips: Vec<String>,
    /// Skips by tests that then say `ok`, and are counted there.
    said_ok: usize,
}

impl Tally {
    /// Counts passes.
    pub fn pass(&mut self, count: usize) {
        self.ok += count;
    }

    /// Counts a failure and says it at once.
    pub fn fail(&mut self, what: &str) {
        println!("failed: {what}");
        self.note_failure(what);
    }

    /// Counts a failure that was already said.
    pub fn note_failure(&mut self, what: &str) {
        self.failures.push(what.to_owned());
    }

    /// Counts a skip; `details` says why.
    pub fn skip(&mut self, what: &str, reason: &str) {
        self.skips.push(format!("{what}: {reason}"));
    }

    /// Counts a test that skips itself: the harness will say that it passed.
    pub fn skip_itself(&mut self, what: &str, reason: &str) {
        self.skip(what, reason);
        self.said_ok += 1;
    }

    /// How many failures so far.
    pub fn failed(&self) -> usize {
        self.failures.len()
    }

    /// A command that passes or fails as one.
    pub fn step(&mut self, name: &str, command: &mut Command) {
        let began = Instant::now();
        match process::run(command) {
            Ok(()) => {
                println!("{name}: ok, {:.1} s", began.elapsed().as_secs_f32());
                self.pass(1);
            }
            Err(error) => self.fail(&format!("{name}: {error:#}")),
        }
    }

    /// Nothing failed.
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// Each failure and each skip on a line.
    pub fn details(&self) -> String {
        let failures = self
            .failures
            .iter()
            .map(|what| format!("failed   {what}\n"));
        failures
            .chain(self.skips.iter().map(|what| format!("skipped  {what}\n")))
            .collect()
    }

    /// The last line.
    pub fn line(&self) -> String {
        let (failed, skipped) = (self.failures.len(), self.skips.len());
        let passed = self.ok.saturating_sub(self.said_ok);
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }
}
