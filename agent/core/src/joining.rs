//! Which attempts belong to an answer: by the thread's order, the request line, or time alone.

use std::time::Duration;

pub use crate::answer::Answer;
use crate::attempts::{Attempt, Attempts};
use crate::fitting::{AT_ONCE, Line, SLACK, counts, fits, follows, is_all, is_near, line};
use crate::letting_go::{is_next_by_order, let_go_next};
use crate::sharing::{remember, shared};
use crate::tries::before;
use crate::twins::may_be;
use crate::units::Timestamp;
use crate::verdict::{Join, Kind};

/// The same for an attempt that surely failed: a busy host may take the processor from the thread
/// between the two (16 ms were seen), and within the request nothing else explains the answer.
const HELD_UP: Duration = Duration::from_millis(200);
/// Attempts that are compared, where several fit.
const RIVALS: usize = 16;

/// The attempts of one answer.
#[derive(Clone, Debug)]
pub struct Joined {
    /// How they were found.
    pub by: Join,
    /// Oldest first; the last decides.
    pub attempts: Vec<Attempt>,
    /// Another attempt, which failed otherwise, fits as well.
    pub ambiguous: bool,
    /// Others that fit as well: harmless where they failed for the same cause.
    pub rivals: Vec<Attempt>,
    /// They did not.
    pub divided: bool,
}

impl Joined {
    /// No attempt.
    #[must_use]
    pub fn nothing() -> Self {
        Self::by(Join::None)
    }

    /// No attempt yet, to be found so.
    #[must_use]
    pub fn by(by: Join) -> Self {
        Self {
            by,
            attempts: Vec::new(),
            ambiguous: false,
            rivals: Vec::new(),
            divided: false,
        }
    }

    /// Whether no other attempt could be the answer's, whatever else there was: the kernel itself said
    /// what the thread had let go of, and the process has one thread that lets go before it answers.
    #[must_use]
    pub fn is_told_by_the_kernel(&self, answer: &Answer) -> bool {
        let said = |last: &Attempt| last.flow.cookie == answer.flow.before;
        answer.ordered
            && answer.manner.orderly
            && self.by == Join::TaskOrder
            && self.attempts.last().is_some_and(said)
    }
}

/// At the answer: only what order or the request line proves.
#[must_use]
pub fn join_at_once(answer: &Answer, attempts: &mut Attempts) -> Option<Joined> {
    attempts.twins.gave(answer);
    if answer.manner.late || !answer.manner.known {
        return None;
    }
    let own = by_order(answer, attempts).filter(|own| is_sure(answer, own));
    let (number, by, ambiguous) = match (own, by_line(answer, attempts, answer.at)) {
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
    // Where the thread was not swift, order alone decides only between attempts that failed alike.
    let own = attempts.unspent(answer.task.pid, number);
    let swift = own.is_some_and(|own| answer.at.since(own.at) <= SLACK);
    let rivalled = by == Join::TaskOrder && !swift && has_rival(answer, attempts, number);
    let choice = (number, by, ambiguous || rivalled);
    Some(take(answer, attempts, choice, answer.at))
}

/// Whether order needs no second look, when all is told that bears on the answer: a gateway may answer
/// before it lets go, and then what it let go of last is another request's.
fn is_sure(answer: &Answer, own: &Attempt) -> bool {
    match line(answer, own) {
        Line::Same => true,
        Line::Unseen => answer.manner.orderly && !own.was_greeted() && !own.flow.marks.swept,
        Line::Differs => false,
    }
}

/// So long after it let go, a thread may have rescued that attempt and answered for another reason.
fn held_up(answer: &Answer, own: &Attempt) -> bool {
    !answer.ordered && answer.at.since(own.at) > AT_ONCE
}

fn has_rival(answer: &Answer, attempts: &Attempts, number: u64) -> bool {
    let Some(own) = attempts.unspent(answer.task.pid, number) else {
        return false;
    };
    line(answer, own) != Line::Same
        && rivals(answer, attempts, own, answer.at)
            .iter()
            .any(|other| !other.is_like(own))
}

/// Other attempts that may be this answer's, where the line does not tell.
fn rivals<'a>(
    answer: &Answer,
    attempts: &'a Attempts,
    own: &Attempt,
    until: Timestamp,
) -> Vec<&'a Attempt> {
    let lined = line(answer, own) == Line::Same;
    // Where a request stays with its thread, other threads' attempts are others'.
    let stays = !answer.manner.hops && own.tid == answer.task.tid;
    let is_rival = |other: &&Attempt| {
        let same = line(answer, other);
        other.number != own.number
            && (!stays || other.tid == own.tid)
            && (same == Line::Same || !lined && same == Line::Unseen)
            && counts(answer, other)
            && fits(answer, other, until)
            && !follows(other, own)
            && !follows(own, other)
    };
    let pid = answer.task.pid;
    let all = attempts.of(pid).chain(attempts.doubted(pid));
    all.filter(is_rival).take(RIVALS).collect()
}

/// After the grace: what closed later than the answer, what order makes likely, then what fits by time
/// alone.
#[must_use]
pub fn join_late(answer: &Answer, attempts: &mut Attempts, now: Timestamp) -> Option<Joined> {
    let next = answer
        .manner
        .late
        .then(|| let_go_next(answer, attempts))
        .flatten();
    let lined = by_line(answer, attempts, now);
    // A dial that failed has no line: next to one that has it, it is another request's.
    let next = next.filter(|next| lined.is_none() || line(answer, next) == Line::Same);
    if let Some(next) = next {
        let ambiguous = line(answer, next) != Line::Same;
        let choice = (next.number, Join::TaskOrder, ambiguous);
        return Some(take(answer, attempts, choice, now));
    }
    if let Some((lined, ambiguous)) = lined {
        let choice = (lined.number, Join::RequestLine, ambiguous);
        return Some(take(answer, attempts, choice, now));
    }
    let late = answer.manner.late || answer.manner.turned_out_late;
    let own = by_order(answer, attempts)
        .filter(|own| !late || is_all(answer, own))
        .filter(|own| !is_anothers(answer, own));
    if let Some(own) = own.or_else(|| let_go_next(answer, attempts)) {
        // Where requests change threads, that this one let go of something last is mere time.
        let by = if answer.manner.hops {
            Join::Time
        } else {
            Join::TaskOrder
        };
        let is_late = own.at.since(answer.at) > AT_ONCE || late && own.at <= answer.at;
        // Go hangs up on who speaks first; it may be a check, if others were asked meanwhile.
        let asked_nobody = answer.manner.hops && answer.is_unasked();
        let is_odd = own.was_greeted() && !asked_nobody;
        let ambiguous = is_late || held_up(answer, own) || is_odd;
        return Some(take(answer, attempts, (own.number, by, ambiguous), now));
    }
    // Time alone shows no gateway in who closes without a word.
    if answer.kind == Kind::Silent {
        return None;
    }
    let mut fitting: Vec<&Attempt> = attempts
        .of(answer.task.pid)
        .filter(|attempt| {
            let other = line(answer, attempt) == Line::Differs;
            !other && !attempt.is_weak() && fits(answer, attempt, now) && is_near(answer, attempt)
        })
        .collect();
    // The one that began first: a later answer's window may still hold the others.
    fitting.sort_by_key(|attempt| attempt.began());
    let Some(first) = fitting.first() else {
        return shared(answer, attempts);
    };
    // Who answers first has yet to let go of what failed, unless only dials make it answer so.
    let is_dial = answer.manner.of_dials == Some(true) && first.is_unconnected();
    let ambiguous = answer.manner.turned_out_late && !is_dial;
    let choice = (first.number, Join::Time, ambiguous);
    Some(take(answer, attempts, choice, now))
}

/// Where requests change threads, another line is another request's: unless lines are written anew here.
fn is_anothers(answer: &Answer, own: &Attempt) -> bool {
    let is_strange = answer.manner.keeps_lines || answer.elsewhere.contains(&own.flow.target());
    answer.manner.hops && line(answer, own) == Line::Differs && is_strange
}

/// The last thing that the answering thread did before.
fn by_order<'a>(answer: &Answer, attempts: &'a Attempts) -> Option<&'a Attempt> {
    if answer.ordered {
        return attempts.of(answer.task.pid).find(|attempt| {
            let swift = answer.at.since(attempt.at) <= SLACK;
            attempt.flow.cookie == answer.flow.before
                && attempt.relayed.is_none()
                && (swift || line(answer, attempt) != Line::Differs)
                && (counts(answer, attempt) || line(answer, attempt) != Line::Differs)
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
    let proves = match (!counts(answer, last), line) {
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
    let same = |one: &&Attempt| {
        line(answer, one) == Line::Same && counts(answer, one) && fits(answer, one, until)
    };
    let all = attempts.of(answer.task.pid).filter(same);
    let mut all: Vec<&Attempt> = all.filter(|one| may_be(answer, one, attempts)).collect();
    // An event loop that let go of nothing passes on what it heard.
    let heard = |attempt: &&Attempt| attempt.relayed.is_some();
    if answer.ordered && answer.manner.orderly && all.iter().any(heard) {
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

/// Takes the deciding attempt and the tries of the same request before it.
fn take(
    answer: &Answer,
    attempts: &mut Attempts,
    (number, by, ambiguous): (u64, Join, bool),
    until: Timestamp,
) -> Joined {
    let pid = answer.task.pid;
    let Some(mut current) = attempts.spend(pid, number) else {
        return Joined::nothing();
    };
    // Order decides by itself between attempts with one line, where it can be trusted.
    let trusted = is_next_by_order(answer, &current)
        || answer.manner.orderly
            && !current.flow.marks.swept
            && (by == Join::TaskOrder || answer.ordered && current.relayed.is_some());
    let mut rivals: Vec<Attempt> = if trusted {
        Vec::new()
    } else {
        let all = rivals(answer, attempts, &current, until);
        all.into_iter().cloned().collect()
    };
    remember(answer, attempts, &current, !rivals.is_empty());
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
    attempts.twins.take(answer, &current);
    let mut earliest = current.clone();
    while let Some((before, sure)) = before(answer, attempts, &earliest) {
        let taken = if sure {
            attempts.spend(pid, before)
        } else {
            attempts.claim(pid, before)
        };
        let Some(attempt) = taken else {
            break;
        };
        attempts.twins.take(answer, &attempt);
        earliest = attempt.clone();
        chain.push(attempt);
    }
    chain.push(current);
    chain.sort_by_key(|attempt| (attempt.at, attempt.number));
    rivals.retain(|rival| chain.iter().all(|own| own.number != rival.number));
    Joined {
        by,
        attempts: chain,
        ambiguous,
        rivals,
        divided: false,
    }
}
