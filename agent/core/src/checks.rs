//! Dials that a gateway made for no request, and that failed: its health checks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::attempts::{Attempt, Attempts};
use crate::diagnose::diagnose;
use crate::evidence::{Evidence, Failure};
use crate::fitting::{SLACK, arrival};
use crate::joining::{Answer, Joined};
use crate::memory::Memory;
use crate::near::as_answer;
use crate::own_answer::{MARKED_DOWN, is_at_its_door, is_known};
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
    // It may as well have been dialled for the request.
    if !answer.checks.is_empty() {
        return Vec::new();
    }
    let failing = failing(answer, attempts);
    // Who has one page for want of a server and for what a rule refuses: anyone alive may be its server.
    let is_sure = || is_nobody_alive(answer, &failing, memory);
    if answer.wants_server == Want::Maybe && !is_sure() {
        return Vec::new();
    }
    let mut last: Vec<&Attempt> = failing.into_values().map(|place| place.last).collect();
    last.sort_by_key(|attempt| std::cmp::Reverse((attempt.at, attempt.number)));
    last.truncate(SHOWN);
    last.reverse();
    last.into_iter()
        .map(|attempt| failure(answer, attempt, memory))
        .collect()
}

/// Dials within a request that are as likely checks of a server that is down: two in a row failed at that
/// place, for no request, the next was due, and nobody is told from the page whether anyone was dialled.
#[must_use]
pub fn within(answer: &Answer, attempts: &Attempts, memory: &Memory) -> Vec<u64> {
    let Some(arrived) = arrival(answer) else {
        return Vec::new();
    };
    if answer.wants_server != Want::Maybe || !answer.is_unasked() {
        return Vec::new();
    }
    let began = |attempt: &Attempt| attempt.began().unwrap_or(attempt.at);
    // The checks before it may be what was lost.
    let is_lossy = memory.lost_within(answer.at.minus(MARKED_DOWN), answer.at) > 0;
    let own = attempts.of(answer.task.pid);
    let is_within = |attempt: &&Attempt| {
        let began = began(attempt);
        attempt.is_unconnected() && began.plus(SLACK) >= arrived && began <= answer.at
    };
    own.filter(is_within)
        .filter(|attempt| is_lossy || was_due(attempt, arrived, (attempts, memory)))
        .map(|attempt| attempt.number)
        .collect()
}

/// Whether a dial came when the next check was due, by the two before the request.
fn was_due(dial: &Attempt, arrived: Timestamp, (attempts, memory): (&Attempts, &Memory)) -> bool {
    let place = dial.flow.target();
    let is_before = |one: &&Attempt| {
        // One request's tries follow each other as regularly.
        one.at.plus(SLACK) < arrived && one.flow.target() == place && is_check(one)
    };
    let mut before = attempts.of(dial.pid).filter(is_before);
    let (Some(last), Some(other)) = (before.next(), before.next()) else {
        return false;
    };
    let usual = last.at.since(other.at);
    let waited = dial.at.since(last.at);
    // Whose thread has to wait for its turn checks later, and the next time sooner again.
    let is_regular = waited * 3 >= usual && waited <= usual * 3;
    let mut alive = memory.alive.of(dial.pid, dial.at);
    is_regular && !alive.any(|(seen, at)| *seen == place && at > other.at)
}

/// The failures of checks at one place.
struct Place<'a> {
    last: &'a Attempt,
    before: Option<Timestamp>,
}

/// Those of each place where the next check is not due yet.
fn failing<'a>(answer: &Answer, attempts: &'a Attempts) -> BTreeMap<String, Place<'a>> {
    let mut places: BTreeMap<String, Place<'a>> = BTreeMap::new();
    // The newest first.
    for attempt in attempts.of(answer.task.pid) {
        if attempt.at <= answer.at && is_check(attempt) {
            let place = attempt.flow.target().to_string();
            let (last, before) = (attempt, None);
            let known = places.entry(place).or_insert(Place { last, before });
            if known.last.number != attempt.number && known.before.is_none() {
                known.before = Some(attempt.at);
            }
        }
    }
    // Squid checks a dead peer again only as a request comes.
    let is_dead = answer.word == Some(Word::Nobody);
    places.retain(|_, place| is_dead || !is_due(answer, place));
    places
}

fn is_due(answer: &Answer, place: &Place<'_>) -> bool {
    let last = place.last.at;
    let usual = place
        .before
        .map_or(Duration::ZERO, |before| last.since(before) * 2);
    answer.at.since(last) > usual.max(LATELY)
}

/// Whether no upstream of this gateway is alive for all that is known: each that it tried failed twice, it
/// asked nobody lately, as checks by HTTP and TLS do, and nothing of it went unseen.
fn is_nobody_alive(
    answer: &Answer,
    failing: &BTreeMap<String, Place<'_>>,
    memory: &Memory,
) -> bool {
    let twice = failing.values().all(|place| place.before.is_some());
    let is_seen = answer.flow.marks.long_unasked && is_known(answer, memory);
    twice && is_seen && !is_anyone_alive(answer, failing, memory)
}

/// Whether this gateway found somebody somewhere, and not nobody since.
fn is_anyone_alive(
    answer: &Answer,
    failing: &BTreeMap<String, Place<'_>>,
    memory: &Memory,
) -> bool {
    let failed = |place: &Target| failing.get(&place.to_string()).map(|place| place.last.at);
    let mut alive = memory.alive.of(answer.task.pid, answer.at);
    alive.any(|(place, seen)| failed(place).is_none_or(|failed| failed < seen))
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
