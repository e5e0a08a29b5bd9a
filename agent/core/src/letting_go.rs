//! Gateways that answer first, and let go of what failed then (HAProxy, Squid).

use std::time::Duration;

use crate::attempts::{Attempt, Attempts};
use crate::fitting::{AT_ONCE, Line, fits, line};
use crate::joining::Answer;
use crate::twins::may_be;
use crate::verdict::Kind;

/// A busy host takes the processor from a thread between its answer and what it lets go of: 12 ms were
/// seen. Longer than any answer waits for it.
const LET_GO_LATE: Duration = Duration::from_millis(200);

/// What the same thread let go of next, and had failed before.
#[must_use]
pub fn let_go_next<'a>(answer: &Answer, attempts: &'a Attempts) -> Option<&'a Attempt> {
    let next = |attempt: &&Attempt| {
        attempt.tid == answer.task.tid
            && attempt.relayed.is_none()
            && attempt.at >= answer.at
            && is_next(answer, attempt)
            && (!attempt.is_weak() || attempt.may_be_unanswered())
            && line(answer, attempt) != Line::Differs
            && fits(answer, attempt, attempt.at)
            && may_be(answer, attempt, attempts)
    };
    attempts
        .of(answer.task.pid)
        .filter(next)
        .min_by_key(|attempt| {
            (
                !is_next_by_order(answer, attempt),
                attempt.is_weak(),
                attempt.at,
            )
        })
}

/// Whether the kernel told that the thread did nothing between this very answer and letting go of what
/// had been asked the same, as its process does for each of its answers: another request's would have
/// its own answer in between.
#[must_use]
pub fn is_next_by_order(answer: &Answer, attempt: &Attempt) -> bool {
    let answered = attempt.flow.marks.answered_at;
    answer.manner.answers_first
        && answer.kind == Kind::Answer
        && attempt.tid == answer.task.tid
        && attempt.relayed.is_none()
        && answered.is_some()
        && answered == answer.flow.said_at
        && line(answer, attempt) == Line::Same
}

/// Let go of at once; or later, where the thread gave no other failed answer meanwhile and gave this one
/// as it learned of the attempt's failure.
fn is_next(answer: &Answer, attempt: &Attempt) -> bool {
    let after = attempt.at.since(answer.at);
    let flow = &attempt.flow;
    let known = [flow.fin_at, flow.reset_at, flow.heard_at, flow.said_at];
    let failed = known.into_iter().flatten().filter(|at| *at <= answer.at);
    let swift = failed
        .max()
        .is_some_and(|at| answer.at.since(at) <= AT_ONCE);
    after <= AT_ONCE || !answer.is_followed && swift && after <= LET_GO_LATE
}
