//! What each thread let go of last: the order by which a retry or an answer finds its failed attempt.

use aya_ebpf::{macros::map, maps::LruHashMap};
use probe502_common::{mark, role};

use crate::{
    afterwards,
    connection::{Connection, HOLDER, OTHER_END, now},
    kernel,
    layout::layout,
    threads::{self, Thread},
};

/// When the threads of a process that have exited last began to answer. Full: the least recently used
/// process is forgotten.
#[map]
static ANSWERED: LruHashMap<u32, u64> = LruHashMap::with_max_entries(1024, 0);

/// What a thread had done right before it let go of a dialled connection.
pub struct Doings {
    /// It had let go of another failed one, and nothing followed from that yet.
    pub swept: bool,
    /// When it had begun an answer, 0 none.
    pub answered_at: u64,
}

/// The connection that a thread had let go of, 0 none, and whether it had failed.
#[derive(Clone, Copy)]
pub struct Before {
    pub cookie: u64,
    pub failed: bool,
}

const NOTHING_BEFORE: Before = Before {
    cookie: 0,
    failed: false,
};

/// An event loop dials the next server as it handles the failure of the last. Nanoseconds.
const RETRY: u64 = 1_000_000;
/// A busy host may take the processor from it in between; in a process of several threads,
/// what the thread does next may then be another request's.
const RETRY_ALONE: u64 = 50_000_000;
/// A busy host may take the processor from a thread between a failure and its answer.
pub const ANSWER: u64 = 200_000_000;

/// The running thread let go of a dialled connection: what it had done right before.
#[inline(always)]
pub fn note_let_go(cookie: u64, failed: bool) -> Doings {
    let (tid, at) = (kernel::tid(kernel::current()), now());
    let Some(noted) = threads::of(tid) else {
        return Doings {
            swept: false,
            answered_at: 0,
        };
    };
    let swept = noted.cookie != 0 && noted.failed == 1 && at.saturating_sub(noted.at) <= RETRY;
    (noted.cookie, noted.at, noted.failed) = (cookie, at, u32::from(failed));
    let answered_at = core::mem::take(&mut noted.answer);
    Doings { swept, answered_at }
}

/// What the thread let go of last, if that was `within` a time; it counts once.
#[inline(always)]
pub fn take_let_go(tid: u32, within: u64) -> Before {
    match threads::known(tid) {
        Some(noted) => take(noted, within),
        None => NOTHING_BEFORE,
    }
}

/// What the running thread let go of last, if it dials or asks now as one does that tries again.
#[inline(always)]
pub fn take_failed_try(tid: u32) -> Before {
    let Some(noted) = threads::known(tid) else {
        return NOTHING_BEFORE;
    };
    let late = noted.cookie != 0 && now().saturating_sub(noted.at) > RETRY;
    let is_alone = late && kernel::threads(kernel::current()) == 1;
    take(noted, if is_alone { RETRY_ALONE } else { RETRY })
}

/// The running thread begins to answer: what it let go of last, as [`take_let_go`] says.
#[inline(always)]
pub fn answers(tid: u32, at: u64) -> Before {
    let Some(noted) = threads::of(tid) else {
        return NOTHING_BEFORE;
    };
    noted.answered_at = at;
    let before = take(noted, ANSWER);
    noted.answer = at;
    before
}

/// A thread exits; when it or, where it is the `last`, any thread of its process last began to answer.
#[inline(always)]
pub fn forget(tid: u32, tgid: u32, last: bool) -> u64 {
    let own = threads::known(tid).map_or(0, |noted| noted.answered_at);
    threads::forget(tid);
    let known = ANSWERED.get_ptr_mut(tgid);
    // SAFETY: an element of a map, eight bytes.
    let others = known.map_or(0, |known| unsafe { *known });
    let latest = if own > others { own } else { others };
    if last {
        if others != 0 {
            let _ = ANSWERED.remove(tgid);
        }
    } else if own > others {
        // Full of others: then it is not known.
        let _ = ANSWERED.insert(tgid, latest, 0);
    }
    latest
}

#[inline(always)]
fn take(noted: &mut Thread, within: u64) -> Before {
    let cookie = core::mem::take(&mut noted.cookie);
    noted.answer = 0;
    if cookie != 0 && now().saturating_sub(noted.at) <= within {
        let failed = noted.failed == 1;
        Before { cookie, failed }
    } else {
        NOTHING_BEFORE
    }
}

/// Whether the thread has let go of a connection and not dialled, asked or answered since.
#[inline(always)]
pub fn has_let_go(tid: u32) -> bool {
    threads::known(tid).is_some_and(|noted| noted.cookie != 0)
}

/// A connection that is worth something ended; `told`: as a failure. Bits of `probe502_common::mark`.
#[inline(always)]
pub fn note_end(connection: &mut Connection, told: bool) -> u8 {
    if connection.role != role::ACCEPTED {
        let before = note_let_go(connection.cookie, told);
        connection.answered_at = before.answered_at;
        return if before.swept { mark::SWEPT } else { 0 };
    }
    if told {
        stand_for_answer(connection);
    }
    0
}

/// A request was not answered, or not to its end, and its holder let go of it first: in place of an
/// answer, with what its thread let go of just before.
#[inline(always)]
fn stand_for_answer(connection: &mut Connection) {
    let cut = connection.speaker == OTHER_END || layout!(silent) == 1;
    if cut && !connection.was_left() {
        let tid = kernel::tid(kernel::current());
        connection.before = take_let_go(tid, ANSWER).cookie;
        afterwards::note_failure(connection);
    }
}

/// Under `--silent`: its holder closed it as it answered, right after it let go of another one.
#[inline(always)]
pub fn broken_off(connection: &Connection) -> bool {
    layout!(silent) == 1
        && connection.speaker == HOLDER
        && !connection.was_left()
        && has_let_go(kernel::tid(kernel::current()))
}
