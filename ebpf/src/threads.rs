//! What each thread did last. An array, for every request passes here: a hash map takes ten times as
//! long.

use aya_ebpf::{macros::map, maps::Array};

/// So many threads are known at a time. Of two that share a place the last keeps it.
const PLACES: u32 = 16_384;

#[map]
static THREADS: Array<Thread> = Array::with_max_entries(PLACES, 0);

/// A cache line: neighbours run on other processors.
#[repr(C)]
pub struct Thread {
    pub tid: u32,
    /// 1 where a request had no answer on the connection that it let go of, or it never became one.
    pub failed: u32,
    /// The dialled connection that it let go of last, until it dials, asks or answers; and when.
    pub cookie: u64,
    pub at: u64,
    /// When it last began to answer on a connection that it had accepted, 0 never.
    pub answered_at: u64,
    /// The same, until it dials, asks or lets go of one.
    pub answer: u64,
    /// When it gave its last failed answer, 0 never.
    pub failed_at: u64,
    /// Under which key it held back what it let go of last, 0 under its own number.
    pub held: u64,
    padding: u64,
}

/// What is known of a thread; only the thread itself asks, or writes.
#[inline(always)]
pub fn known(tid: u32) -> Option<&'static mut Thread> {
    let thread = place(tid)?;
    (thread.tid == tid).then_some(thread)
}

/// The same, made where nothing is known.
#[inline(always)]
pub fn of(tid: u32) -> Option<&'static mut Thread> {
    let thread = place(tid)?;
    if thread.tid != tid {
        *thread = Thread {
            tid,
            failed: 0,
            cookie: 0,
            at: 0,
            answered_at: 0,
            answer: 0,
            failed_at: 0,
            held: 0,
            padding: 0,
        };
    }
    Some(thread)
}

#[inline(always)]
fn place(tid: u32) -> Option<&'static mut Thread> {
    let place = THREADS.get_ptr_mut(tid % PLACES)?;
    // SAFETY: an element of an array, of integers.
    unsafe { place.as_mut() }
}
