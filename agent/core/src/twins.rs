//! Requests with one line that failed at the same time: their line says of none which attempt was its own.

use std::time::Duration;

use crate::attempts::{Attempt, Attempts};
use crate::evidence::Evidence;
use crate::fitting::{Line, SLACK, arrival, fits, follows, line};
use crate::joining::Answer;
use crate::letting_go::is_next_by_order;
use crate::recent::Recent;
use crate::shapes::Shape;
use crate::units::{Pid, Timestamp};

/// Attempts that are judged for one answer: half of them such as failed otherwise.
const JUDGED: usize = 64;
/// Answers with one line that are looked through for one given at the same time.
const LOOKED_AT: usize = 4096;

/// When a request was under way, from its arrival to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span(Timestamp, Timestamp);

/// Answers by their request lines, and attempts that answers took.
#[derive(Debug)]
pub struct Twins {
    given: Recent<(Pid, u64, u64), Span>,
    /// By thread, and by when they began to leave.
    begun: Recent<(u32, Timestamp), u64>,
    taken: Recent<(Pid, u64), Box<Attempt>>,
    next: u64,
}

impl Default for Twins {
    fn default() -> Self {
        let age = Duration::from_secs(10);
        Self {
            given: Recent::new(8192, age),
            begun: Recent::new(8192, age),
            taken: Recent::new(4096, age),
            next: 0,
        }
    }
}

fn span(answer: &Answer) -> Span {
    Span(arrival(answer).unwrap_or(answer.at), answer.at)
}

impl Twins {
    /// A failed answer was given.
    pub fn gave(&mut self, answer: &Answer) {
        self.next += 1;
        if let Some(asked) = answer.asked.filter(|_| !answer.manner.orderly) {
            let key = (answer.task.pid, asked, self.next);
            self.given.insert(answer.at, key, span(answer));
            if let Some(began) = answer.flow.said_at {
                self.begun
                    .insert(answer.at, (answer.task.tid, began), asked);
            }
        }
    }

    /// An answer took it.
    pub fn take(&mut self, answer: &Answer, attempt: &Attempt) {
        if !answer.manner.orderly {
            let key = (attempt.pid, attempt.number);
            self.taken.insert(answer.at, key, Box::new(attempt.clone()));
        }
    }

    /// Whether another request with the answer's line was under way with it, and failed too.
    #[must_use]
    pub fn has(&self, answer: &Answer) -> bool {
        let Some(asked) = answer.asked else {
            return false;
        };
        let own = span(answer);
        let key = |number| (answer.task.pid, asked, number);
        let all = self.given.between(key(0), key(u64::MAX)).rev();
        let together = |other: &&Span| other.0 <= own.1.plus(SLACK) && other.1.plus(SLACK) >= own.0;
        let others = all.map(|(_, span)| span).take(LOOKED_AT);
        // The answer is one of them itself.
        others.filter(together).nth(1).is_some()
    }

    /// Whether the order of a thread that answers first tells that another answer with its line was for
    /// this attempt.
    fn is_anothers(&self, answer: &Answer, attempt: &Attempt) -> bool {
        let answered = attempt.flow.marks.answered_at;
        let next_to = |at| self.begun.get(&(attempt.tid, at)).copied();
        answer.manner.answers_first
            && answered != answer.flow.said_at
            && answered.is_some_and(|at| next_to(at).is_some() && next_to(at) == attempt.asked)
    }

    fn taken(&self, pid: Pid) -> impl Iterator<Item = &Attempt> {
        let all = self.taken.between((pid, 0), (pid, u64::MAX));
        all.rev().map(|(_, attempt)| &**attempt)
    }
}

/// Once all is told: what else may be the answer's, whoever took it meanwhile, where others asked the same.
pub fn contest(evidence: &mut Evidence, attempts: &Attempts, now: Timestamp) {
    let (answer, joined) = (&evidence.answer, &mut evidence.joined);
    if answer.manner.orderly || !attempts.twins.has(answer) {
        return;
    }
    let own = joined.attempts.last();
    if own.is_some_and(|own| is_next_by_order(answer, own)) {
        return;
    }
    let is_other = |other: &Attempt| {
        own.is_none_or(|own| {
            other.number != own.number && !follows(own, other) && !follows(other, own)
        })
    };
    let may_be_its = |other: &&Attempt| {
        line(answer, other) != Line::Differs
            && !other.is_weak()
            && fits(answer, other, now)
            && is_other(other)
            && may_be(answer, other, attempts)
    };
    let pid = answer.task.pid;
    let all = attempts.of(pid).chain(attempts.twins.taken(pid));
    let (mut alike, mut unlike) = (Vec::new(), Vec::new());
    for other in all.filter(may_be_its) {
        if own.is_some_and(|own| own.is_like(other)) {
            alike.push(other);
        } else if unlike.len() < JUDGED / 2 {
            unlike.push(other);
        } else {
            break;
        }
    }
    let step = alike.len().div_ceil(JUDGED / 2).max(1);
    let rivals = unlike.into_iter().chain(alike.into_iter().step_by(step));
    let rivals: Vec<Attempt> = rivals.cloned().collect();
    joined.divided = own.is_some_and(|own| looks_otherwise(answer, own));
    joined.rivals.extend(rivals);
}

/// Whether an answer shows that its process answers first, though others asked the same: the thread let go of
/// one right after it, and nobody of any that could be its own before it.
#[must_use]
pub fn shows_who_answers_first(answer: &Answer, attempts: &Attempts) -> bool {
    let Some(began) = answer.flow.said_at else {
        return false;
    };
    let is_next =
        |one: &&Attempt| one.tid == answer.task.tid && one.flow.marks.answered_at == Some(began);
    let may_be_its = |one: &&Attempt| {
        one.at <= answer.at && line(answer, one) != Line::Differs && fits(answer, one, answer.at)
    };
    let pid = answer.task.pid;
    let all = || attempts.of(pid).chain(attempts.twins.taken(pid));
    let next = all().find(is_next).filter(|one| one.relayed.is_none());
    next.is_some_and(|one| line(answer, one) == Line::Same)
        && attempts.twins.has(answer)
        && !all().any(|one| may_be_its(&one))
}

/// Whether nothing tells that an attempt with the answer's line is another's.
#[must_use]
pub fn may_be(answer: &Answer, attempt: &Attempt, attempts: &Attempts) -> bool {
    let twins = &attempts.twins;
    let is_anothers = twins.is_anothers(answer, attempt);
    !(is_anothers || looks_otherwise(answer, attempt) && twins.has(answer))
}

/// Whether the answer's header says another length than the one that was heard: gateways pass an answer on
/// with its length, unless they put a page of their own in its place.
fn looks_otherwise(answer: &Answer, attempt: &Attempt) -> bool {
    let Some(status) = attempt.relayed else {
        return false;
    };
    let heard = Shape::of(status, &attempt.flow.heard_head);
    heard.differs_in_length(answer.shape)
}
