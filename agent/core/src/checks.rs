//! Dials that a gateway made for no request, and that failed: its health checks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::attempts::{Attempt, Attempts};
use crate::cause::Cause;
use crate::diagnose::{Judgement, diagnose, unknown};
use crate::evidence::{Complete, Evidence, Failure};
use crate::fitting::arrival;
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

/// Whether the dial that was joined is as likely a check: its page is also the one for want of a server, at
/// that place a dial for no request had failed, and nobody was found alive there since.
fn may_be_one(evidence: &Evidence, attempts: &Attempts, memory: &Memory) -> bool {
    let answer = &evidence.answer;
    let Some(arrived) = arrival(answer) else {
        return false;
    };
    let Some(own) = evidence.deciding().filter(|own| own.is_unconnected()) else {
        return false;
    };
    if answer.wants_server != Want::Maybe || !answer.is_unasked() {
        return false;
    }
    let place = own.flow.target();
    let is_before =
        |one: &&Attempt| one.at < arrived && is_check(one) && one.flow.target() == place;
    let last = attempts.of(own.pid).find(is_before);
    let mut alive = memory.alive.of(own.pid, own.at);
    let is_revived =
        last.is_some_and(|last| alive.any(|(seen, at)| *seen == place && at > last.at));
    // Checks may be what was lost, or what failed before the agent came.
    let is_seen = !is_at_its_door(answer, memory) || is_known(answer, memory);
    last.is_some() && !is_revived || !is_seen
}

/// Weighs whether the joined dial may be a check, and what was lost that would tell.
pub fn weigh(evidence: &mut Evidence, attempts: &Attempts, memory: &Memory) {
    evidence.may_be_check = may_be_one(evidence, attempts, memory);
    let at = evidence.answer.at;
    let lost = memory.lost_within(at.minus(MARKED_DOWN), at);
    if evidence.may_be_check && lost > 0 {
        evidence.complete = Complete::Lost(lost);
    }
}

/// Nothing is claimed of a dial that may be a check.
#[must_use]
pub fn doubt(judgement: Judgement, evidence: &Evidence) -> Judgement {
    let cause = match evidence.complete {
        Complete::Lost(_) => Cause::UnknownEvidenceLost,
        Complete::Yes | Complete::Late | Complete::Missing(_) => Cause::UnknownUnexplained,
    };
    if evidence.may_be_check {
        unknown(cause)
    } else {
        judgement
    }
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
