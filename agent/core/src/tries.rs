//! Which tries are one request's: each begins as the last fails.

use std::time::Duration;

use crate::attempts::{Attempt, Attempts};
use crate::fitting::{Line, SLACK, fits, follows, line};
use crate::joining::Answer;

/// How soon an event loop dials again: nginx took 20 to 60 µs.
const IN_TURN: Duration = Duration::from_micros(300);
/// HAProxy waits a second before it dials again (its configuration manual, `retries`).
const TURNAROUND: (Duration, Duration) = (Duration::from_millis(950), Duration::from_millis(1100));

/// The try of the same request that came right before, and whether it is nobody else's.
#[must_use]
pub fn before(answer: &Answer, attempts: &Attempts, next: &Attempt) -> Option<(u64, bool)> {
    let began = next.began()?;
    let earlier = |attempt: &&Attempt| {
        attempt.number != next.number
            && !attempt.claimed
            && attempt.at <= began.plus(Duration::from_micros(50))
            && !attempt.is_weak()
            && belongs(answer, attempt, next, began.since(attempt.at))
            && fits(answer, attempt, answer.at)
    };
    let own = attempts.of(answer.task.pid).filter(earlier);
    let last = own.max_by_key(|attempt| attempt.at)?;
    let sure = answer.manner.orderly || line(answer, last) == Line::Same;
    Some((last.number, sure))
}

/// Whether an earlier try and the next, begun so long after it, are one request's. An event loop
/// dials the next server as it handles the failure of the last.
fn belongs(answer: &Answer, last: &Attempt, next: &Attempt, gap: Duration) -> bool {
    let same_thread = last.tid == next.tid;
    let lately = gap <= SLACK || line(answer, last) != Line::Differs;
    let ordered = answer.ordered && lately && same_thread && last.flow.cookie == next.flow.before;
    // In a process of several threads, a dial right after another's failure may be a new request's.
    if ordered
        && (answer.manner.orderly || line(answer, last) == Line::Same || next.is_unconnected())
    {
        return true;
    }
    let turned = gap >= TURNAROUND.0 && gap <= TURNAROUND.1;
    let in_turn = same_thread && gap <= IN_TURN && !answer.ordered;
    match line(answer, last) {
        Line::Same => in_turn || turned || answer.manner.hops || last.tid != next.tid,
        Line::Differs => in_turn && line(answer, next) != Line::Same,
        Line::Unseen => {
            in_turn || same_thread && turned && next.is_unconnected() || follows(last, next)
        }
    }
}
