//! UNIX requests that wait for an answer: told of when their gateway answers with a failure, since
//! nothing tells of a UNIX socket's close.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_for_each_map_elem;
use probe502_common::{how, kind};

use crate::{
    connection::HOLDER,
    kernel,
    unix::{UNIX, UnixConnection, known, tell},
    unix_dials::is_dialler,
};

/// Two hooks on two processors may see a request leave before it came. Nanoseconds.
const SLACK: u64 = 1_000_000;

/// The two requests of a process that left soonest after a moment, by their accepted ends; 0 none.
struct Waiting {
    pid: u32,
    since: u64,
    keys: [u64; 2],
    asked_at: [u64; 2],
}

/// A failed answer leaves, to a request that came at `since`, and its thread let go of nothing: what
/// the process asked on UNIX sockets meanwhile and has no answer to.
#[inline(never)]
pub fn send_waiting(since: u64) {
    let pid = kernel::tgid(kernel::current());
    if since == 0 || !is_dialler(pid) {
        return;
    }
    let mut waiting = Waiting {
        pid,
        since: since.saturating_sub(SLACK),
        keys: [0; 2],
        asked_at: [u64::MAX; 2],
    };
    let map: *mut c_void = (&raw const UNIX).cast_mut().cast();
    // SAFETY: the verifier checks that `note` takes what the helper hands over: the map, a key, its
    // element and `waiting`, which outlives the call.
    unsafe { bpf_for_each_map_elem(map, note as *mut c_void, (&raw mut waiting).cast(), 0) };
    send(waiting.keys[0]);
    send(waiting.keys[1]);
}

#[inline(never)]
fn send(key: u64) -> Option<()> {
    if key != 0 {
        tell(known(key)?, kind::UNIX_ENDED, 0, how::OPEN, false);
    }
    None
}

/// Keeps an element where it is one of the two; 0: go on.
unsafe extern "C" fn note(
    _map: *mut c_void,
    key: *const u64,
    known: *const UnixConnection,
    waiting: *mut Waiting,
) -> i64 {
    // SAFETY: the helper hands over an element of the map and its caller's own context.
    let (known, waiting) = unsafe { (&*known, &mut *waiting) };
    let connection = &known.connection;
    let at = connection.said_at;
    if connection.owner.pid != waiting.pid
        || connection.speaker != HOLDER
        || connection.gone == 1
        || known.wrote_at > at
        || at < waiting.since
        || at >= waiting.asked_at[1]
    {
        return 0;
    }
    // SAFETY: as above.
    let key = unsafe { *key };
    if at < waiting.asked_at[0] {
        waiting.asked_at[1] = waiting.asked_at[0];
        waiting.keys[1] = waiting.keys[0];
        waiting.asked_at[0] = at;
        waiting.keys[0] = key;
    } else {
        waiting.asked_at[1] = at;
        waiting.keys[1] = key;
    }
    0
}
