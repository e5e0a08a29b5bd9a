//! What each thread did last, in one element: every request passes here, and each look-up costs.

use aya_ebpf::{macros::map, maps::LruHashMap};

/// By thread, and no two share an element: what the one let go of would be forgotten as the other
/// answers. Full: the least recently used thread is forgotten.
#[map]
static THREADS: LruHashMap<u32, Thread> = LruHashMap::with_max_entries(16_384, 0);

#[repr(C)]
pub struct Thread {
    /// 1 where a request had no answer on the connection that it let go of, or it never became one.
    pub failed: u32,
    padding: u32,
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
}

/// What a new element is made from.
static BLANK: Thread = Thread {
    failed: 0,
    padding: 0,
    cookie: 0,
    at: 0,
    answered_at: 0,
    answer: 0,
    failed_at: 0,
    held: 0,
};

/// What is known of a thread; only the thread itself asks, or writes.
#[inline(always)]
pub fn known(tid: u32) -> Option<&'static mut Thread> {
    let thread = THREADS.get_ptr_mut(tid)?;
    // SAFETY: only this thread writes its own element, and it is running this program.
    unsafe { thread.as_mut() }
}

/// The same, made where nothing is known.
#[inline(always)]
pub fn of(tid: u32) -> Option<&'static mut Thread> {
    if let Some(thread) = known(tid) {
        return Some(thread);
    }
    THREADS.insert(tid, &BLANK, 0).ok()?;
    known(tid)
}

/// It exits, and its number may come again soon.
#[inline(always)]
pub fn forget(tid: u32) {
    let _ = THREADS.remove(tid);
}
