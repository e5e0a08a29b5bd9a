//! Which attempts belong to an answer: by the thread's order, the request line, or time alone.

use std::time::Duration;

use crate::attempts::{Attempt, Attempts};
use crate::event::{Flow, Task};
use crate::http;
use crate::units::Timestamp;
use crate::verdict::Join;

/// How much earlier than its request an attempt may seem to begin: two hooks on two processors.
const SLACK: Duration = Duration::from_millis(1);
/// How long a thread takes at most from a failed attempt to the answer or to the next attempt, when
/// it does nothing else: beyond, order alone proves nothing.
const AT_ONCE: Duration = Duration::from_millis(5);
/// The same for an attempt that surely failed: a busy host may take the processor from the thread
/// between the two (16 ms were seen), and within the request nothing else explains the answer.
const HELD_UP: Duration = Duration::from_millis(200);
/// How soon an event loop dials again: nginx took 20 to 60 µs.
const IN_TURN: Duration = Duration::from_micros(300);
/// HAProxy waits a second before it dials again (its configuration manual, `retries`).
const TURNAROUND: (Duration, Duration) = (Duration::from_millis(950), Duration::from_millis(1100));

/// A failed answer, with what joining needs of it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When it left.
    pub at: Timestamp,
    /// Who sent it.
    pub task: Task,
    /// The connection that it left on.
    pub flow: Flow,
    /// Its status.
    pub status: u16,
    /// The same thread's answer before this one.
    pub before: Option<Timestamp>,
    /// The process was seen to move a request from thread to thread: goroutines, thread pools.
    pub hops: bool,
    /// The kernel told what the thread had let go of just before it answered.
    pub ordered: bool,
}

/// The attempts of one answer.
#[derive(Clone, Debug)]
pub struct Joined {
    /// How they were found.
    pub by: Join,
    /// Oldest first; the last decides.
    pub attempts: Vec<Attempt>,
    /// Another attempt, which failed otherwise, fits as well.
    pub ambiguous: bool,
}

impl Joined {
    /// No attempt.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            by: Join::None,
            attempts: Vec::new(),
            ambiguous: false,
        }
    }
}

/// How an attempt's request line compares with the answer's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Same,
    Differs,
    Unseen,
}

/// At the answer: only what order or the request line proves.
#[must_use]
pub fn join_at_once(answer: &Answer, attempts: &mut Attempts) -> Option<Joined> {
    let (number, by, ambiguous) = match (
        by_order(answer, attempts),
        by_line(answer, attempts, answer.at),
    ) {
        (Some(own), None) => (own.number, Join::TaskOrder, held_up(answer, own)),
        (None, Some((lined, ambiguous))) => (lined.number, Join::RequestLine, ambiguous),
        (None, None) => return None,
        (Some(own), Some((lined, ambiguous))) => {
            // A failed answer that was heard is passed on at once; another attempt decides only
            // as a retry after it. Else that one was a mirror, or another request's that a retry
            // came to rescue.
            let is_own = match (line(answer, own), lined.relayed) {
                (Line::Same | Line::Unseen, _) if answer.ordered => true,
                (Line::Differs, _) => false,
                (Line::Same | Line::Unseen, Some(_)) => own.began() >= Some(lined.at),
                (Line::Same | Line::Unseen, None) => own.at >= lined.at,
            };
            if is_own || own.number == lined.number {
                // What was heard with the same line may be this answer's, and the other a mirror's.
                let rivalled = lined.relayed.is_some()
                    && lined.number != own.number
                    && own.began() < Some(lined.at);
                (
                    own.number,
                    Join::TaskOrder,
                    held_up(answer, own) || rivalled,
                )
            } else {
                let close = line(answer, own) == Line::Same && !held_up(answer, own);
                (lined.number, Join::RequestLine, ambiguous || close)
            }
        }
    };
    // Where requests change threads, or the thread was not swift, order alone decides only between
    // attempts that failed alike.
    let own = find(answer, attempts, number);
    let swift = own.is_some_and(|own| answer.at.since(own.at) <= SLACK) && !answer.hops;
    let rivalled = by == Join::TaskOrder && !swift && has_rival(answer, attempts, number);
    Some(take(answer, attempts, (number, by, ambiguous || rivalled)))
}

/// So long after it let go, a thread may have rescued that attempt and answered for another reason.
fn held_up(answer: &Answer, own: &Attempt) -> bool {
    !answer.ordered && answer.at.since(own.at) > AT_ONCE
}

fn has_rival(answer: &Answer, attempts: &Attempts, number: u64) -> bool {
    let Some(own) = find(answer, attempts, number) else {
        return false;
    };
    let is_rival = |other: &Attempt| {
        other.number != number
            && line(answer, other) != Line::Differs
            && fits(answer, other, answer.at)
            && !other.is_like(own)
            && !follows(other, own)
    };
    line(answer, own) != Line::Same && attempts.of(answer.task.pid).any(is_rival)
}

/// After the grace: what closed later than the answer, then what fits by time alone.
#[must_use]
pub fn join_late(answer: &Answer, attempts: &mut Attempts, now: Timestamp) -> Option<Joined> {
    if let Some((lined, ambiguous)) = by_line(answer, attempts, now) {
        let choice = (lined.number, Join::RequestLine, ambiguous);
        return Some(take(answer, attempts, choice));
    }
    let mut fitting: Vec<&Attempt> = attempts
        .of(answer.task.pid)
        .filter(|attempt| {
            let other = line(answer, attempt) == Line::Differs;
            fits(answer, attempt, now) && !attempt.is_weak() && !other
        })
        .collect();
    // The one that began first: a later answer's window may still hold the others.
    fitting.sort_by_key(|attempt| attempt.began());
    let first = fitting.first()?;
    let ambiguous = fitting
        .iter()
        .any(|other| !other.is_like(first) && !follows(first, other));
    let choice = (first.number, Join::Time, ambiguous);
    Some(take(answer, attempts, choice))
}

/// The last thing that the answering thread did before.
fn by_order<'a>(answer: &Answer, attempts: &'a Attempts) -> Option<&'a Attempt> {
    if answer.ordered {
        return attempts.of(answer.task.pid).find(|attempt| {
            let swift = answer.at.since(attempt.at) <= SLACK;
            attempt.flow.cookie == answer.flow.before
                && attempt.relayed.is_none()
                && (swift || line(answer, attempt) != Line::Differs)
                && !(attempt.is_weak() && line(answer, attempt) == Line::Differs)
                && fits(answer, attempt, answer.at)
        });
    }
    let own = attempts
        .of(answer.task.pid)
        .filter(|attempt| attempt.relayed.is_none());
    let own = own.filter(|attempt| attempt.tid == answer.task.tid && attempt.at <= answer.at);
    let last = own.max_by_key(|attempt| (attempt.at, attempt.number))?;
    let is_last = answer.before.is_none_or(|before| last.at >= before);
    let line = line(answer, last);
    let gap = answer.at.since(last.at);
    let proves = match (last.is_weak(), line) {
        (true, Line::Differs) => false,
        (true, Line::Same | Line::Unseen) => gap <= AT_ONCE,
        // A gateway may rewrite the path; then only the callback's own swiftness speaks for it.
        (false, Line::Differs) => gap <= SLACK,
        (false, Line::Same | Line::Unseen) => gap <= HELD_UP,
    };
    (is_last && proves && fits(answer, last, answer.at)).then_some(last)
}

/// The attempt with the same request line; whether another that failed otherwise has it too.
fn by_line<'a>(
    answer: &Answer,
    attempts: &'a Attempts,
    until: Timestamp,
) -> Option<(&'a Attempt, bool)> {
    let same = |attempt: &&Attempt| {
        fits(answer, attempt, until) && line(answer, attempt) == Line::Same && !attempt.is_weak()
    };
    let mut all: Vec<&Attempt> = attempts.of(answer.task.pid).filter(same).collect();
    // An event loop that let go of nothing passes on what it heard.
    let heard = |attempt: &&Attempt| attempt.relayed.is_some();
    if answer.ordered && !answer.hops && all.iter().any(heard) {
        all.retain(heard);
    }
    // One request's tries follow each other; the last of them decides.
    let first = all.iter().min_by_key(|attempt| attempt.began())?;
    let mut last = *first;
    let mut rest: Vec<&&Attempt> = all
        .iter()
        .filter(|one| one.number != first.number)
        .collect();
    rest.sort_by_key(|attempt| attempt.began());
    let mut ambiguous = false;
    for next in rest {
        if next.began() >= Some(last.at) {
            last = next;
        } else {
            ambiguous |= !next.is_like(last);
        }
    }
    Some((last, ambiguous))
}

fn find<'a>(answer: &Answer, attempts: &'a Attempts, number: u64) -> Option<&'a Attempt> {
    attempts
        .of(answer.task.pid)
        .find(|attempt| attempt.number == number)
}

/// Takes the deciding attempt and the tries of the same request before it.
fn take(
    answer: &Answer,
    attempts: &mut Attempts,
    (number, by, ambiguous): (u64, Join, bool),
) -> Joined {
    let pid = answer.task.pid;
    let Some(mut current) = attempts.spend(pid, number) else {
        return Joined::nothing();
    };
    let mut chain = vec![];
    if by == Join::Time {
        // Found by its beginning: the other address family may have been tried after it.
        let next = attempts
            .of(pid)
            .find(|next| follows(&current, next))
            .map(|next| next.number);
        if let Some(next) = next.and_then(|next| attempts.spend(pid, next)) {
            chain.push(std::mem::replace(&mut current, next));
        }
    }
    let mut earliest = current.clone();
    while let Some(before) = before(answer, attempts, &earliest) {
        let Some(attempt) = attempts.spend(pid, before) else {
            break;
        };
        earliest = attempt.clone();
        chain.push(attempt);
    }
    chain.push(current);
    chain.sort_by_key(|attempt| (attempt.at, attempt.number));
    Joined {
        by,
        attempts: chain,
        ambiguous,
    }
}

/// The try of the same request that came right before.
fn before(answer: &Answer, attempts: &Attempts, next: &Attempt) -> Option<u64> {
    let began = next.began()?;
    let earlier = |attempt: &&Attempt| {
        attempt.number != next.number
            && attempt.at <= began.plus(Duration::from_micros(50))
            && fits(answer, attempt, answer.at)
            && !attempt.is_weak()
            && belongs(answer, attempt, next, began.since(attempt.at))
    };
    let own = attempts.of(answer.task.pid).filter(earlier);
    own.max_by_key(|attempt| attempt.at)
        .map(|attempt| attempt.number)
}

/// Whether an earlier try and the next, begun so long after it, are one request's. An event loop
/// dials the next server as it handles the failure of the last.
fn belongs(answer: &Answer, last: &Attempt, next: &Attempt, gap: Duration) -> bool {
    let same_thread = last.tid == next.tid;
    if answer.ordered && same_thread && last.flow.cookie == next.flow.before {
        return true;
    }
    let turned = gap >= TURNAROUND.0 && gap <= TURNAROUND.1;
    let in_turn = same_thread && gap <= IN_TURN && !answer.ordered;
    match line(answer, last) {
        Line::Same => in_turn || turned || answer.hops || last.tid != next.tid,
        Line::Differs => in_turn && line(answer, next) != Line::Same,
        Line::Unseen => {
            in_turn || same_thread && turned && next.is_unconnected() || follows(last, next)
        }
    }
}

/// Whether one is the same dial in the other address family (RFC 8305).
fn follows(first: &Attempt, next: &Attempt) -> bool {
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

/// Whether an attempt lies within the request: begun after it arrived, ended by `until`.
fn fits(answer: &Answer, attempt: &Attempt, until: Timestamp) -> bool {
    let arrived = arrival(answer);
    let status_fits = attempt.relayed.is_none_or(|status| status == answer.status);
    let after = match (arrived, attempt.began()) {
        (Some(arrived), Some(began)) => began.plus(SLACK) >= arrived,
        (Some(arrived), None) => attempt.at.plus(SLACK) >= arrived,
        (None, _) => answer.at.since(attempt.at) <= AT_ONCE,
    };
    let begun = attempt.began().is_none_or(|began| began <= answer.at);
    // What is let go of after the answer began before it, and failed before it.
    let failed = attempt.at <= answer.at || failed_by(attempt, answer.at);
    status_fits && after && begun && attempt.at <= until && failed
}

fn failed_by(attempt: &Attempt, moment: Timestamp) -> bool {
    let flow = &attempt.flow;
    let heard = [flow.fin_at, flow.reset_at].into_iter().flatten().min();
    heard.is_some_and(|heard| heard <= moment)
}

/// When the request arrived, where what was heard last is a request: a body that came after
/// `100 Continue` tells nothing of it.
#[must_use]
pub fn arrival(answer: &Answer) -> Option<Timestamp> {
    let seen = answer.flow.heard_head.0.is_empty()
        || http::request_line(&answer.flow.heard_head).is_some();
    answer.flow.heard_at.filter(|at| seen && *at <= answer.at)
}

fn line(answer: &Answer, attempt: &Attempt) -> Line {
    let (asked, sent) = (
        http::request_line(&answer.flow.heard_head),
        http::request_line(&attempt.flow.said_head),
    );
    match (asked, sent) {
        (Some(asked), Some(sent)) => {
            if asked.method == sent.method && asked.target == sent.target {
                Line::Same
            } else {
                Line::Differs
            }
        }
        (None, _) | (_, None) => Line::Unseen,
    }
}
