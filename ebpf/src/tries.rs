//! When each process last turned to anyone: an answer for whose request none of its threads did is its own.

use aya_ebpf::{
    macros::{cgroup_sock, map},
    maps::{Array, LruHashMap},
    programs::SockContext,
};
use probe502_common::{Task, flag, mark, role};

use crate::{
    connection::{self, Connection, HOLDER},
    kernel::{self, Kernel},
    layout::layout,
    messages::STATUS_LINE,
};

/// So many processes are told apart by their numbers. Those that share an element count as one: what
/// the one did, the other is not said to have left undone.
const PLACES: u32 = 4096;

/// By process, or by several. An array, for every request passes here: a hash map takes ten times as
/// long.
#[map]
static TRIED: Array<Tried> = Array::with_max_entries(PLACES, 0);

/// A cache line: neighbours run on other processors.
#[repr(C)]
struct Tried {
    dialled_at: u64,
    asked_at: u64,
    /// When an upstream last ended a connection that waited for a request.
    parted_at: u64,
    padding: [u64; 5],
}

/// When a process last heard from an upstream what may be a failed health check. Full: the one that
/// heard it longest ago is forgotten.
#[map]
static TROUBLED: LruHashMap<u32, u64> = LruHashMap::with_max_entries(1024, 0);

/// A request and the end of the connection that it was meant for may be read in one turn of an event
/// loop, and what is written then fails before any hook. Nanoseconds.
const PARTED: u64 = 200_000_000;
/// A gateway holds an upstream for dead so long after a check, or until the next one. Nanoseconds.
const TROUBLED_FOR: u64 = 60_000_000_000;
/// Whose upstreams pass checks that ask asks one of them within this time. Nanoseconds.
const LONG: u64 = 10_000_000_000;
/// From this status on a health check fails, and its like (RFC 9110, 15).
const TROUBLE: u16 = 400;
/// How often trouble is noted at most. Nanoseconds.
const ANEW: u64 = 1_000_000_000;

/// A task makes a socket, of TCP or UDP: most that fails on a dial's way fails after this, and before
/// the dial begins.
#[cgroup_sock(sock_create)]
pub fn socket_made(_: SockContext) -> i32 {
    note_dialled();
    1
}

/// The running process begins a dial.
#[inline(always)]
pub fn note_dialled() {
    if let Some(tried) = of(running()) {
        tried.dialled_at = later(tried.dialled_at, connection::now());
    }
}

/// A process said something on a connection that it had dialled.
#[inline(always)]
pub fn note_asked(pid: u32, now: u64) {
    if let Some(tried) = of(pid) {
        tried.asked_at = later(tried.asked_at, now);
    }
}

/// An upstream ended a connection: one that waited for a request fails the next without a trace.
#[inline(always)]
pub fn note_parted(connection: &Connection) {
    let is_open = connection.has(flag::ESTABLISHED | flag::LATE);
    let waits = is_open && (connection.said == 0 || connection.speaker != HOLDER);
    if connection.role != role::ACCEPTED
        && waits
        && let Some(tried) = of(connection.owner.pid)
    {
        tried.parted_at = later(tried.parted_at, connection::now());
    }
}

/// What an upstream says, as its status where it is an answer in HTTP/1.
#[inline(always)]
pub fn note_heard(connection: &Connection, status: Option<u16>) {
    let is_begun = connection.heard_head_length >= STATUS_LINE;
    if is_begun && status.is_none_or(|status| status >= TROUBLE) {
        note_trouble(&connection.owner);
    }
}

#[inline(never)]
fn note_trouble(task: &Task) {
    trouble(task.pid);
    // Workers that share a master share what their checks find.
    trouble(task.parent);
}

#[inline(always)]
fn trouble(pid: u32) {
    let now = connection::now();
    // SAFETY: the element is an integer, read at once.
    let noted = unsafe { TROUBLED.get(pid) }.copied().unwrap_or(0);
    if pid > 1 && now.saturating_sub(noted) > ANEW {
        // Full of troubled processes: the one that was so longest ago gives its place.
        let _ = TROUBLED.insert(pid, now, 0);
    }
}

/// What the running process has not done since then.
#[inline(always)]
pub fn marks_since(moment: u64) -> u8 {
    if moment == 0 {
        return 0;
    }
    let untroubled = if is_troubled() { 0 } else { mark::UNTROUBLED };
    let Some(tried) = of(running()) else {
        return 0;
    };
    let undialled = if tried.dialled_at < moment && tried.parted_at < moment.saturating_sub(PARTED)
    {
        mark::UNDIALLED
    } else {
        0
    };
    let unasked = if tried.asked_at < moment {
        mark::UNASKED
    } else {
        0
    };
    let long_unasked = if connection::now().saturating_sub(tried.asked_at) >= LONG {
        mark::LONG_UNASKED
    } else {
        0
    };
    undialled | unasked | untroubled | long_unasked
}

/// The running process, or another worker of its master.
#[inline(never)]
fn is_troubled() -> bool {
    let task = kernel::current();
    if is_noted(task) {
        return true;
    }
    let parent = task.follow(layout!(task_real_parent));
    parent.is_some_and(|parent| is_noted(parent) && name(parent) == name(task))
}

#[inline(always)]
fn is_noted(task: Kernel) -> bool {
    let since = connection::now().saturating_sub(TROUBLED_FOR);
    // SAFETY: the element is an integer, read at once.
    unsafe { TROUBLED.get(kernel::tgid(task)) }.is_some_and(|noted| *noted >= since)
}

/// The beginning of a process's name, as its first thread has it; 0 where it cannot be read. Not an
/// `Option`: two of them are compared by way of stack that was never written, which Linux 6.1's
/// verifier refuses.
#[inline(always)]
fn name(task: Kernel) -> u64 {
    let leader = task.follow(layout!(task_group_leader));
    leader.map_or(0, |leader| leader.read(layout!(task_comm)).unwrap_or(0))
}

#[inline(always)]
pub fn running() -> u32 {
    kernel::tgid(kernel::current())
}

/// Another on the same element may have been here since `now` was taken.
#[inline(always)]
fn later(noted: u64, now: u64) -> u64 {
    if noted > now { noted } else { now }
}

/// A process's element; its threads may write at once, within the same moment.
#[inline(always)]
fn of(pid: u32) -> Option<&'static mut Tried> {
    let place = TRIED.get_ptr_mut(pid % PLACES)?;
    // SAFETY: an element of an array, of integers.
    unsafe { place.as_mut() }
}
