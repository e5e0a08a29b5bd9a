//! What a failed answer leaves behind, for gateways that answer in one thread and let go in another,
//! or answer first and let go then.

use aya_ebpf::{macros::map, maps::LruHashMap};
use probe502_common::{Flow, HEAD, kind};

use crate::{
    connection::{self, Connection, Moment},
    emit,
    kernel::{self, Kernel},
    threads,
};

/// For each thread, and for each request line of a process of several threads, the last connection that
/// was let go of after something was heard on it: only a failed answer makes it worth telling. Full: the
/// least recently used is forgotten.
#[map]
static HELD_BACK: LruHashMap<u64, Flow> = LruHashMap::with_max_entries(4096, 0);

/// When each process of several threads gave its last failed answer to a request line.
/// Full: the least recently used is forgotten.
#[map]
static FAILED: LruHashMap<u64, u64> = LruHashMap::with_max_entries(4096, 0);

/// How long after its failed answer a gateway lets go of the attempt: HAProxy took 50 to 300 µs, a
/// busy host's thread waits for its turn. Nanoseconds.
const THEN: u64 = 5_000_000;
/// Bytes of a request line that tell requests apart. A judgement of probe502's own.
const LINE: usize = 48;

/// A failed answer leaves on this connection: first what was held back for it.
#[inline(always)]
pub fn note_failure(connection: &Connection) {
    let task = kernel::current();
    let tid = kernel::tid(task);
    let now = &connection::now();
    let mut own = u64::from(tid);
    if let Some(thread) = threads::of(tid) {
        thread.failed_at = *now;
        if thread.held != 0 {
            own = thread.held;
        }
    }
    send_held_back(own);
    if let Some(key) = key(task, &connection.heard_head, connection.heard_head_length) {
        // Full of others: then what is let go of later stays untold.
        let _ = FAILED.insert(key, now, 0);
        if key != own {
            send_held_back(key);
        }
    }
}

/// The key under which the running thread holds back what was said to this request line.
#[inline(always)]
fn hold(connection: &Connection) -> u64 {
    let task = kernel::current();
    let tid = kernel::tid(task);
    let Some(key) = key(task, &connection.said_head, connection.said_head_length) else {
        return u64::from(tid);
    };
    if let Some(thread) = threads::of(tid) {
        thread.held = key;
    }
    key
}

/// Whether the running thread, or its process to the same request line, gave a failed answer just now.
#[inline(always)]
pub fn follows_failure(connection: &Connection) -> bool {
    let task = kernel::current();
    let thread = threads::known(kernel::tid(task));
    if thread.is_some_and(|thread| is_recent(thread.failed_at)) {
        return true;
    }
    let key = key(task, &connection.said_head, connection.said_head_length);
    let at = key.and_then(|key| FAILED.get_ptr(key));
    // SAFETY: an element of a map, eight bytes.
    at.is_some_and(|at| is_recent(unsafe { *at }))
}

/// Keeps it for this thread's next failed answer, or its process's to this request line.
#[inline(always)]
pub fn hold_back(connection: &Connection, moment: &Moment) {
    let key = hold(connection);
    // By reference: a copy would not fit the stack.
    let blank: &Flow = &BLANK;
    let place = HELD_BACK.get_ptr_mut(key).or_else(|| {
        HELD_BACK.insert(key, blank, 0).ok()?;
        HELD_BACK.get_ptr_mut(key)
    });
    if let Some(place) = place {
        // SAFETY: an element of a map. Threads of one process that let go for one request line at
        // once may spoil each other's record.
        let place = unsafe { &mut *place };
        // Another thread may look for it meanwhile.
        set_kind(place, 0);
        connection::fill(place, connection, moment);
        set_kind(place, moment.kind);
    }
}

/// In this order with what is written around it.
#[inline(always)]
fn set_kind(flow: &mut Flow, kind: u16) {
    // SAFETY: a write to a valid reference.
    unsafe { core::ptr::write_volatile(&raw mut flow.socket.header.kind, kind) };
}

/// Sends what was held back, once.
#[inline(always)]
fn send_held_back(key: u64) {
    let Some(place) = HELD_BACK.get_ptr_mut(key) else {
        return;
    };
    // SAFETY: an element of a map; what another thread is filling has kind 0.
    let flow = unsafe { &mut *place };
    if flow.socket.header.kind != 0 {
        emit::send(kind::ENDED, flow);
        flow.socket.header.kind = 0;
    }
}

/// What a new element of [`HELD_BACK`] is made from.
static BLANK: Flow = zerocopy::transmute!([0u8; size_of::<Flow>()]);

#[inline(always)]
fn is_recent(at: u64) -> bool {
    connection::now().saturating_sub(at) <= THEN
}

/// A process of several threads, and the request line that a head begins with: a number above all
/// threads' numbers.
#[inline(always)]
fn key(task: Kernel, head: &[u8; HEAD], length: u16) -> Option<u64> {
    if length < LINE as u16 / 2 || kernel::threads(task) < 2 {
        return None;
    }
    Some(u64::from(kernel::tgid(task)) << 32 | u64::from(fingerprint(head)))
}

/// FNV-1a over the method and the target, as far as they are looked at. Without a branch for each
/// byte: the verifier walks every path.
#[inline(always)]
fn fingerprint(head: &[u8; HEAD]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    let mut blanks: u32 = 0;
    let mut index = 0;
    while index < LINE {
        let byte = u32::from(head[index]);
        let is_blank = (byte ^ 0x20).wrapping_sub(1) >> 31;
        blanks += is_blank;
        // All ones up to the second blank, zeros from there on.
        let counts = 0u32.wrapping_sub(blanks.wrapping_sub(2) >> 31);
        hash = (hash ^ (byte & counts)).wrapping_mul(0x0100_0193 & counts | 1 & !counts);
        index += 1;
    }
    hash
}
