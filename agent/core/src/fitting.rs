//! Whether an attempt may be an answer's: by its request line, and by lying within the request.

use std::time::Duration;

use crate::attempts::Attempt;
use crate::body;
use crate::joining::Answer;
use crate::units::Timestamp;
use crate::verdict::Symptom;

/// How much earlier than its request an attempt may seem to begin: two processors' clocks. A request is noted
/// before its gateway can read it, and a health check of another thread's may begin just before it.
const SKEW: Duration = Duration::from_micros(50);
/// How far apart two things are at most that follow one another at once.
pub const SLACK: Duration = Duration::from_millis(1);
/// How long a thread takes at most from a failed attempt to the answer or to the next attempt, when
/// it does nothing else: beyond, order alone proves nothing.
pub const AT_ONCE: Duration = Duration::from_millis(5);
/// How long before its answer an attempt ended at most that is joined by time alone: a gateway answers
/// in the same millisecond, a busy one later.
const NEAR: Duration = Duration::from_millis(50);
/// How long after its request a lone try begins at most, or half of the time that it waited.
const BEGUN: Duration = Duration::from_millis(250);
/// A busy gateway takes longer: twice what its other requests show, of which no more is believed.
const LATEST: Duration = Duration::from_secs(1);

/// How an attempt's request line compares with the answer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The same method and target.
    Same,
    /// Another.
    Differs,
    /// One of them was not seen.
    Unseen,
}

/// Whether one is the same dial in the other address family (RFC 8305).
#[must_use]
pub fn follows(first: &Attempt, next: &Attempt) -> bool {
    let (one, other) = (first.flow.remote, next.flow.remote);
    let soon = next
        .flow
        .opened_at
        .is_some_and(|opened| opened.since(first.at) <= SLACK);
    soon && first.is_unconnected()
        && next.at >= first.at
        && one.port() == other.port()
        && one.is_ipv4() != other.is_ipv4()
}

/// Whether an attempt took its place in the request as a lone try does: begun as the request came, and
/// ended as the answer left. Another request's may lie within a long one's time.
#[must_use]
pub fn is_near(answer: &Answer, attempt: &Attempt) -> bool {
    let begun = BEGUN.max(answer.manner.lag.try_after.min(LATEST) * 2);
    let gap = answer.at.since(attempt.at);
    // So far off, what fails behind another door of the gateway and never behind this one is another's.
    let is_its_place = gap <= NEAR || !answer.elsewhere.contains(&attempt.flow.target());
    is_prompt(answer, attempt, begun) && gap <= nearness(answer) && is_its_place
}

/// How long before its answer an attempt ended at most, where only time joins them.
#[must_use]
pub fn nearness(answer: &Answer) -> Duration {
    NEAR.max(answer.manner.lag.answer_after.min(LATEST) * 2)
}

/// Whether an attempt began as the request came.
fn is_prompt(answer: &Answer, attempt: &Attempt, begun: Duration) -> bool {
    let waited = match (arrival(answer), attempt.began()) {
        (Some(arrived), Some(began)) => began.since(arrived),
        (_, _) => Duration::ZERO,
    };
    let outstanding = arrival(answer).map_or(Duration::ZERO, |arrived| answer.at.since(arrived));
    waited <= begun || waited <= outstanding / 2
}

/// Whether an attempt lies within the request: begun after it arrived, ended by `until`.
#[must_use]
pub fn fits(answer: &Answer, attempt: &Attempt, until: Timestamp) -> bool {
    attempt.at <= until
        && attempt.relayed.is_none_or(|status| status == answer.status)
        && is_within(answer, attempt)
        && may_be_meant(answer, attempt)
        && looks_so(answer, attempt)
}

/// Whether an attempt began after the request came, and failed before its answer left.
fn is_within(answer: &Answer, attempt: &Attempt) -> bool {
    // Where the kernel says that nobody was turned to since the request came, a check just before it is none.
    let slack = if answer.is_untried() {
        Duration::ZERO
    } else {
        SKEW
    };
    let began = attempt.began();
    let after = match (arrival(answer), began) {
        (Some(arrived), Some(began)) => began.plus(slack) >= arrived,
        (Some(arrived), None) => attempt.at.plus(slack) >= arrived,
        (None, _) => answer.at.since(attempt.at) <= AT_ONCE,
    };
    // What is let go of after the answer began before it, and failed before it.
    let failed =
        || attempt.at <= answer.at || failed_by(attempt, answer.at) || waits(answer, attempt);
    after && began.is_none_or(|began| began <= answer.at) && failed()
}

fn may_be_meant(answer: &Answer, attempt: &Attempt) -> bool {
    let is_of_now = !attempt.is_glimpse() || answer.at.since(attempt.at) <= AT_ONCE;
    // A health check is no request's, however long one waits in a queue.
    let is_no_check = !attempt.was_greeted() || is_prompt(answer, attempt, BEGUN);
    // An answer that broke off is one that an upstream broke off.
    is_of_now && is_no_check && (answer.cut.is_none() || body::broke(&attempt.flow))
}

/// Whether the answer looks as its process words what happened to the attempt. A handshake that failed is
/// worded as a refused dial by some (HAProxy), as a broken connection by others.
fn looks_so(answer: &Answer, attempt: &Attempt) -> bool {
    let is_dial = attempt.is_unconnected();
    if answer
        .word
        .is_some_and(|word| !word.allows(is_dial, attempt.flow.error))
    {
        return false;
    }
    match answer.manner.of_dials {
        Some(of_dials) => {
            is_dial == of_dials
                || attempt.failed_in_handshake()
                || line(answer, attempt) == Line::Same
        }
        None => true,
    }
}

/// Whether a dial that failed is all that there was: it leaves nothing to let go of, and since the request
/// came nobody was asked anything.
#[must_use]
pub fn is_all(answer: &Answer, own: &Attempt) -> bool {
    answer.is_unasked() && own.is_unconnected() && own.flow.path.is_some()
}

/// HAProxy tells its client that it waited too long, or could not connect, and then hangs up on the
/// upstream.
fn waits(answer: &Answer, attempt: &Attempt) -> bool {
    let after = attempt.at.since(answer.at) <= AT_ONCE;
    let in_vain = attempt.is_unconnected() || attempt.symptom() == Symptom::NoAnswer;
    after && attempt.tid == answer.task.tid && in_vain
}

fn failed_by(attempt: &Attempt, moment: Timestamp) -> bool {
    let flow = &attempt.flow;
    let heard = [flow.fin_at, flow.reset_at].into_iter().flatten().min();
    let disliked = flow
        .heard_at
        .filter(|_| matches!(attempt.symptom(), Symptom::BadAnswer | Symptom::TlsFailure));
    // A refused dial's socket says only that it failed.
    let failed = flow.error.0 != 0 && !flow.established;
    [heard, disliked]
        .into_iter()
        .flatten()
        .any(|at| at <= moment)
        || failed && attempt.at.since(moment) <= AT_ONCE
}

/// When the request arrived, where what was heard last is a request.
#[must_use]
pub const fn arrival(answer: &Answer) -> Option<Timestamp> {
    answer.request.arrived
}

/// Where nothing went wrong up to the header's end, only an answer that broke off tells of more.
#[must_use]
pub fn counts(answer: &Answer, attempt: &Attempt) -> bool {
    answer.cut.is_some() || !attempt.is_weak()
}

/// Compares the request lines.
#[must_use]
pub fn line(answer: &Answer, attempt: &Attempt) -> Line {
    match answer.asked.zip(attempt.asked) {
        Some((asked, sent)) if asked == sent => Line::Same,
        Some(_) => Line::Differs,
        None => Line::Unseen,
    }
}
