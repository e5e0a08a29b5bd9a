//! What a run came to, and what was counted on the way.

use std::collections::BTreeMap;

use probe502_core::event::Death;

/// signal(7).
const SIGKILL: u8 = 9;

/// What a run came to.
pub struct Totals {
    /// Events by kind, as the kernel sent them.
    pub events: BTreeMap<&'static str, u64>,
    /// Records lost in the kernel, or not understood.
    pub lost: u64,
    /// Failed answers among them: nothing is said of those.
    pub lost_answers: u64,
    /// Events in the recording, where there is one.
    pub recorded: Option<u64>,
}

/// What was counted since the start.
pub struct Counts<'a> {
    /// Events by kind, as the kernel sent them.
    pub events: BTreeMap<&'static str, u64>,
    /// Records lost, by where.
    pub lost: [(&'static str, u64); 4],
    /// Processes that ended, by how.
    pub deaths: &'a BTreeMap<&'static str, u64>,
}

impl Totals {
    /// `no record lost`, or how many.
    pub fn losses(&self) -> String {
        match (self.lost, self.lost_answers) {
            (0, _) => "no record lost".to_owned(),
            (lost, 0) => format!("{lost} records lost"),
            (lost, 1) => {
                format!("{lost} records lost, 1 of them a failed answer without a verdict")
            }
            (lost, many) => {
                format!("{lost} records lost, {many} of them failed answers without a verdict")
            }
        }
    }
}

/// Where a record of this kind was lost: most had no room in the ring, and what was not understood has
/// no kind.
pub fn stage(kind: Option<&str>) -> &'static str {
    match kind {
        Some("forgotten") => "memory",
        Some("unmet") => "hook",
        Some(_) => "ring",
        None => "decode",
    }
}

/// What was lost, by where.
pub fn by_stage(lost: &BTreeMap<&'static str, u64>, undecoded: u64) -> [(&'static str, u64); 4] {
    let at = |name| {
        let here = lost.iter().filter(|(kind, _)| stage(Some(kind)) == name);
        (name, here.map(|(_, count)| count).sum())
    };
    [at("ring"), at("memory"), at("hook"), ("decode", undecoded)]
}

/// How a process ended, as a word that metrics may have.
pub fn manner(death: &Death) -> &'static str {
    match (death.signal, death.status) {
        (Some(SIGKILL), _) => "killed",
        (Some(_), _) if death.core => "crashed",
        (Some(_), _) => "signal",
        (None, Some(0) | None) => "exit",
        (None, Some(_)) => "exit-error",
    }
}
