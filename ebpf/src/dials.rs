//! Dials before their first packet: what fails there never changes a socket's state
//! (`tcp_v4_connect` asks for the route first).

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_sock_addr,
    helpers::generated::{bpf_get_socket_cookie, bpf_skc_to_tcp_sock},
    macros::{btf_tracepoint, cgroup_sock_addr, map},
    maps::LruHashMap,
    programs::{BtfTracePointContext, SockAddrContext},
};
use probe502_common::role;

use crate::{
    connection::{self, Connection},
    kernel::{self, Kernel, Sock, TCP},
    layout::layout,
    names, tries,
};

/// The TCP state of a socket whose dial has not begun (`net/tcp_states.h`).
const CLOSE: u8 = 7;

// linux/rtnetlink.h
const RTN_BLACKHOLE: u8 = 6;
const RTN_UNREACHABLE: u8 = 7;
const RTN_PROHIBIT: u8 = 8;
const RTPROT_KERNEL: u8 = 2;

const EACCES: u16 = 13;
const EINVAL: u16 = 22;
const EAGAIN: u16 = 11;
const ENETUNREACH: u16 = 101;
const EHOSTUNREACH: u16 = 113;

/// For each thread, the dial that it began last. Full: the least recently used thread is forgotten,
/// and a route's error with it.
#[map]
static DIALS: LruHashMap<u32, Dial> = LruHashMap::with_max_entries(4096, 0);

/// Why a route was refused, by the dial's socket, where its thread has dialled anew since. Full: the
/// oldest one's error is forgotten.
#[map]
static REFUSED: LruHashMap<u64, u16> = LruHashMap::with_max_entries(1024, 0);

#[derive(Clone, Copy)]
#[repr(C)]
struct Dial {
    cookie: u64,
    /// IPv4-mapped (RFC 4291, 2.5.5.2).
    target: [u8; 16],
    /// Why a route to it was refused, an errno.
    error: u16,
    padding: [u8; 6],
}

#[cgroup_sock_addr(connect4)]
pub fn dial4(ctx: SockAddrContext) -> i32 {
    names::asks(&ctx);
    begins(&ctx, false);
    1
}

#[cgroup_sock_addr(connect6)]
pub fn dial6(ctx: SockAddrContext) -> i32 {
    names::asks(&ctx);
    begins(&ctx, true);
    1
}

/// A route was looked up in one table, for whoever asks; refusals alone matter.
#[btf_tracepoint(function = "fib_table_lookup")]
pub fn route4(ctx: BtfTracePointContext) -> i32 {
    let error: i32 = ctx.arg(3);
    if error < 0 {
        refused4(&ctx, error.unsigned_abs() as u16);
    }
    0
}

#[btf_tracepoint(function = "fib6_table_lookup")]
pub fn route6(ctx: BtfTracePointContext) -> i32 {
    refused6(&ctx);
    0
}

#[inline(always)]
fn begins(ctx: &SockAddrContext, is_v6: bool) -> Option<()> {
    let asked = ctx.sock_addr;
    // Of other protocols too: a name server, HTTP/3.
    tries::note_dialled();
    // SAFETY: the context is valid; the verifier turns this into a read of the socket.
    if unsafe { (*asked).protocol } != u32::from(TCP) {
        return None;
    }
    // SAFETY: as above.
    let socket = unsafe { (*asked).__bindgen_anon_1.sk };
    if socket.is_null() {
        return None;
    }
    let connection = connection::of_new(socket.cast())?;
    // SAFETY: the context is valid.
    connection.cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    connection.renew(role::DIALLED);
    connection.seen_state = 0;
    connection.ended_state = CLOSE;
    write_target(asked, is_v6, connection);
    // SAFETY: the socket is not null; the helper answers null for other sockets.
    let tcp = unsafe { bpf_skc_to_tcp_sock(socket.cast()) };
    connection.netns = Sock::at(tcp.cast()).map_or(0, Sock::netns);
    kernel::write_task(kernel::current(), &mut connection.owner);
    note(connection);
    None
}

#[inline(always)]
fn write_target(asked: *mut bpf_sock_addr, is_v6: bool, connection: &mut Connection) {
    // SAFETY: the context is valid.
    let port = unsafe { (*asked).user_port };
    connection.tuple.remote_port = (port as u16).to_ne_bytes();
    connection.tuple.local_port = [0; 2];
    connection.tuple.local = [0; 16];
    let mut words = [0, 0, u32::to_be(0xffff), 0];
    if is_v6 {
        // SAFETY: as above.
        words = unsafe { (*asked).user_ip6 };
    } else {
        // SAFETY: as above.
        words[3] = unsafe { (*asked).user_ip4 };
        connection.tuple.local[10] = 0xff;
        connection.tuple.local[11] = 0xff;
    }
    connection.tuple.remote = zerocopy::transmute!(words);
}

#[inline(always)]
fn note(connection: &Connection) {
    let dial = Dial {
        cookie: connection.cookie,
        target: connection.tuple.remote,
        error: 0,
        padding: [0; 6],
    };
    let tid = connection.owner.tid;
    if let Some(place) = DIALS.get_ptr_mut(tid) {
        // SAFETY: only this thread writes its own element, and it is running this program.
        let noted = unsafe { &mut *place };
        if noted.cookie == connection.cookie {
            // The same socket dials again: what its last dial met is not this one's.
            let _ = REFUSED.remove(noted.cookie);
        } else if noted.error != 0 {
            let _ = REFUSED.insert(noted.cookie, noted.error, 0);
        }
        *noted = dial;
    } else {
        // Full of busy threads: then a route's error stays unknown.
        let _ = DIALS.insert(tid, dial, 0);
    }
}

#[inline(always)]
fn refused4(ctx: &BtfTracePointContext, error: u16) -> Option<()> {
    let wanted = Kernel::at(ctx.arg(1))?;
    let target: u32 = wanted.load(layout!(flowi4_daddr))?;
    // No route in this table: where another has one, the dial goes on, and nobody asks.
    let error = if error == EAGAIN { ENETUNREACH } else { error };
    refused(
        zerocopy::transmute!([0, 0, u32::to_be(0xffff), target]),
        error,
    )
}

#[inline(always)]
fn refused6(ctx: &BtfTracePointContext) -> Option<()> {
    let found = Kernel::at(ctx.arg(1))?;
    let kind: u8 = found.load(layout!(fib6_type))?;
    let error = match kind {
        RTN_BLACKHOLE => EINVAL,
        RTN_PROHIBIT => EACCES,
        RTN_UNREACHABLE => {
            let entry = found.follow(layout!(fib6_entry))?;
            // The kernel's own entry stands for "no route" (`fib6_null_entry`).
            match entry.read::<u8>(layout!(fib6_protocol)) {
                Some(RTPROT_KERNEL) => ENETUNREACH,
                _ => EHOSTUNREACH,
            }
        }
        _ => return None,
    };
    let wanted = Kernel::at(ctx.arg(3))?;
    let mut target = [0; 16];
    wanted.copy(layout!(flowi6_daddr), &mut target);
    refused(target, error)
}

#[inline(always)]
fn refused(target: [u8; 16], error: u16) -> Option<()> {
    let place = DIALS.get_ptr_mut(kernel::tid(kernel::current()))?;
    // SAFETY: only this thread writes its own element, and it is running this program; a softirq
    // that runs in its place asks for another target.
    let dial = unsafe { &mut *place };
    if dial.target == target {
        dial.error = error;
    }
    None
}

/// Why the dial on this socket had no route; 0 where that is not known.
#[inline(always)]
pub fn error_of(connection: &Connection) -> u16 {
    if let Some(place) = DIALS.get_ptr(connection.owner.tid)
        // SAFETY: an element of a map stays readable; its cookie says whose dial it is.
        && let dial = unsafe { &*place }
        && dial.cookie == connection.cookie
    {
        return dial.error;
    }
    // SAFETY: the element is an integer, read at once.
    unsafe { REFUSED.get(connection.cookie) }
        .copied()
        .unwrap_or(0)
}
