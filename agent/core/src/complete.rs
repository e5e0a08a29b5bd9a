//! What is missing from an answer's evidence: what was lost, came before the agent, or has no hook here.

use crate::attempts::Attempt;
use crate::body::symptom;
use crate::joining::{Answer, Joined};
use crate::memory::Memory;
use crate::processes::{Ending, Way};
use crate::silences::is_in_body;
use crate::units::Timestamp;
use crate::verdict::{Join, Kind};

/// Ten minutes in nanoseconds: as long as ends are remembered.
const HISTORY: u64 = 600_000_000_000;

/// A minute in nanoseconds: what time alone joins rests on how the gateway's other answers came about.
const LEARNED: u64 = 60_000_000_000;

/// What is missing from the evidence, the worst first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complete {
    /// Nothing.
    Yes,
    /// Records were lost around the answer.
    Lost(u64),
    /// The connection is older than the agent.
    Late,
    /// Hooks are missing on this kernel.
    Missing(Vec<String>),
}

/// Since when a lost record may tell more: of processes and listeners, and of connections.
fn relevant_since(answer: &Answer, deciding: Option<&Attempt>) -> (Timestamp, Timestamp) {
    let past = Timestamp(answer.at.0.saturating_sub(HISTORY));
    let Some(attempt) = deciding else {
        return (answer.at, answer.at);
    };
    let flow = &attempt.flow;
    let bounded = |moment: Option<Timestamp>| moment.unwrap_or(past).min(answer.at).max(past);
    let opened = bounded(flow.opened_at.or(attempt.began()));
    // The other end may have closed it since its last answer.
    let served = bounded(flow.heard_before_at.or(Some(opened)));
    // What the gateway gave up for may have begun before.
    let gave_up = is_in_body(symptom(answer, attempt), attempt);
    let forgets = attempt.is_unconnected() || flow.path.is_some() || gave_up;
    (if forgets { past } else { opened }, served)
}

/// What is missing, and how many records of connections are lost that may have shown another attempt.
#[must_use]
pub fn complete(
    answer: &Answer,
    joined: &Joined,
    ending: Option<&Ending>,
    memory: &Memory,
) -> (Complete, u64) {
    let deciding = joined.attempts.last();
    let (history, mut own) = relevant_since(answer, deciding);
    if joined.by == Join::Time {
        own = own.min(Timestamp(answer.at.0.saturating_sub(LEARNED)));
    }
    let around = memory.lost_within(own, answer.at);
    let lost = around.max(memory.lasting_lost_within(history, answer.at));
    let late = answer.flow.late || deciding.is_some_and(|attempt| attempt.flow.late);
    let missing = memory.missing().iter();
    let missing: Vec<String> = missing
        .filter(|hook| may_have_told(hook, answer, joined, ending))
        .cloned()
        .collect();
    let complete = match (lost, late, missing.is_empty()) {
        (1.., _, _) => Complete::Lost(lost),
        (0, true, _) => Complete::Late,
        (0, false, false) => Complete::Missing(missing),
        (0, false, true) => Complete::Yes,
    };
    (complete, around)
}

/// Whether this hook might have told more of the answer.
fn may_have_told(hook: &str, answer: &Answer, joined: &Joined, ending: Option<&Ending>) -> bool {
    match hook {
        // Which limit was met; the kill itself is another hook's.
        "log_line" => ending.is_some_and(|ending| matches!(ending.way, Way::Oom(None))),
        "body_in" | "body_out" | "body_said" => answer.kind == Kind::Silent || answer.cut.is_some(),
        "unix_ready" | "unix_read" | "unix_written" | "unix_consumed" => {
            let deciding = joined.attempts.last();
            joined.by == Join::Time || deciding.is_none_or(|own| own.flow.path.is_some())
        }
        _ => true,
    }
}
