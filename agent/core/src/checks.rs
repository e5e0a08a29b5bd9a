//! Dials that a gateway made for no request, and that failed: its health checks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::attempts::{Attempt, Attempts};
use crate::diagnose::diagnose;
use crate::evidence::{Evidence, Failure};
use crate::joining::{Answer, Joined};
use crate::memory::Memory;
use crate::near::as_answer;
use crate::own_answer::is_at_its_door;
use crate::own_page::{Want, Word};
use crate::units::Timestamp;
use crate::unix::Target;
use crate::verdict::{Join, Symptom};

/// A check that failed so lately still counts, or within twice the time between the last two.
const LATELY: Duration = Duration::from_secs(10);
/// Failures that a verdict lists.
const SHOWN: usize = 4;

/// The checks of this gateway that had failed last, oldest first, where it said for want of a server
/// what it said.
#[must_use]
pub fn before(answer: &Answer, attempts: &Attempts, memory: &Memory) -> Vec<Failure> {
    if answer.wants_server == Want::No || !answer.is_unasked() || !is_at_its_door(answer, memory) {
        return Vec::new();
    }
    let failing = failing(answer, attempts);
    // Who has one page for want of a server and for what a rule refuses: anyone alive may be its server.
    if answer.wants_server == Want::Maybe && is_anyone_alive(answer, &failing, memory) {
        return Vec::new();
    }
    let mut last: Vec<&Attempt> = failing.into_values().collect();
    last.sort_by_key(|attempt| std::cmp::Reverse((attempt.at, attempt.number)));
    last.truncate(SHOWN);
    last.reverse();
    last.into_iter()
        .map(|attempt| failure(answer, attempt, memory))
        .collect()
}

/// The last failure at each place, where the next check is not due yet.
fn failing<'a>(answer: &Answer, attempts: &'a Attempts) -> BTreeMap<String, &'a Attempt> {
    let mut last: BTreeMap<String, (&Attempt, Option<Timestamp>)> = BTreeMap::new();
    // The newest first.
    for attempt in attempts.of(answer.task.pid) {
        if attempt.at <= answer.at && is_check(attempt) {
            let place = attempt.flow.target().to_string();
            let known = last.entry(place).or_insert((attempt, None));
            if known.0.number != attempt.number && known.1.is_none() {
                known.1 = Some(attempt.at);
            }
        }
    }
    let is_due = |(attempt, before): &(&Attempt, Option<Timestamp>)| {
        let usual = before.map_or(Duration::ZERO, |before| attempt.at.since(before) * 2);
        // Squid checks a dead peer again only as a request comes.
        let is_dead = answer.word == Some(Word::Nobody);
        is_dead || answer.at.since(attempt.at) <= usual.max(LATELY)
    };
    let fresh = last.into_iter().filter(|(_, found)| is_due(found));
    fresh
        .map(|(place, (attempt, _))| (place, attempt))
        .collect()
}

/// Whether this gateway found somebody somewhere, and not nobody since.
fn is_anyone_alive(answer: &Answer, failing: &BTreeMap<String, &Attempt>, memory: &Memory) -> bool {
    let found = |place: &Target| failing.get(&place.to_string()).map(|attempt| attempt.at);
    let mut alive = memory.alive.of(answer.task.pid, answer.at);
    alive.any(|(place, seen)| found(place).is_none_or(|failed| failed < seen))
}

/// Whether a check may fail so. A request whose client left looks like one that waits too long.
fn is_check(attempt: &Attempt) -> bool {
    let is_left = attempt.symptom() == Symptom::NoAnswer;
    !attempt.claimed && !attempt.is_weak() && !is_left
}

fn failure(answer: &Answer, attempt: &Attempt, memory: &Memory) -> Failure {
    let joined = Joined {
        attempts: vec![attempt.clone()],
        ..Joined::by(Join::TaskOrder)
    };
    let judged = as_answer(attempt, answer.task.clone());
    let evidence = Evidence::gather(judged, joined, memory);
    let upstream: Target = attempt.flow.target();
    Failure {
        at: attempt.at,
        task: answer.task.clone(),
        port: answer.flow.local.port(),
        tried: vec![upstream.clone()],
        upstream,
        symptom: evidence.symptom,
        cause: Some(diagnose(&evidence).cause),
    }
}
