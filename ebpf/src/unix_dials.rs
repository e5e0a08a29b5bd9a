//! UNIX dials that failed, and who dials UNIX sockets at all: the one hook on them that is always
//! attached.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{btf_tracepoint, map},
    maps::LruHashMap,
    programs::BtfTracePointContext,
};
use probe502_common::{PATH, UnixDial, UnixDialler, UnixListener, kind};

use crate::{
    calls, connection, emit,
    kernel::{self, Kernel, Sock},
    layout::layout,
    order, tries,
    unix::{self, AF_UNIX, ESTABLISHED, OUR_OWN, SOCK_STREAM},
    unix_heads::{self, length},
};

/// net/tcp_states.h
const CLOSE: u8 = 7;

/// Processes that dial UNIX sockets, and were told of. Full: the least recently seen is forgotten.
#[map]
static DIALLERS: LruHashMap<u32, u8> = LruHashMap::with_max_entries(1024, 0);

/// UNIX listeners that were told of, by their address in kernel memory: who listens. Full: the least
/// recently dialled one is told of again.
#[map]
static LISTENERS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(1024, 0);

/// Whether a process has dialled UNIX sockets lately.
#[inline(always)]
pub fn is_dialler(pid: u32) -> bool {
    // SAFETY: nothing is read of the element but whether there is one.
    unsafe { DIALLERS.get(pid) }.is_some()
}

#[inline(always)]
pub fn note_dialler(pid: u32) {
    if !is_dialler(pid) {
        // Full of busy diallers: then what one of them waits for is not told of.
        let _ = DIALLERS.insert(pid, 1, 0);
    }
}

/// A listener is dialled for the first time: who called `listen(2)` on it (`SO_PEERCRED`, unix(7)).
#[inline(always)]
pub fn tell_listener(listener: Sock, path: &[u8; PATH], path_length: u32) -> Option<()> {
    let pid: u32 = listener
        .0
        .follow(layout!(sock_peer_pid))?
        .read(layout!(pid_number))?;
    let address = listener.0.number();
    // SAFETY: the element is an integer, which is written at once.
    if unsafe { LISTENERS.get(address) }.is_some_and(|told| *told == pid) {
        return None;
    }
    // Full of busy listeners: then one is told of again.
    let _ = LISTENERS.insert(address, pid, 0);
    let netns = listener.netns();
    emit::write::<UnixListener>(kind::UNIX_LISTENER, |record| {
        record.header = connection::header::<UnixListener>(kind::UNIX_LISTENER, netns);
        record.pid = pid;
        record.path_length = path_length;
        record.path = *path;
    });
    None
}

/// A connection leaves its queue: accepted, or never put there as its `connect(2)` failed.
#[btf_tracepoint(function = "consume_skb")]
pub fn unix_consumed(ctx: BtfTracePointContext) -> i32 {
    consumed(ctx.arg(0));
    0
}

/// A packet without bytes that belongs to a UNIX socket stands for a connection; one with bytes has
/// been read.
#[inline(always)]
fn consumed(packet: *const c_void) -> Option<()> {
    let packet = Kernel::at(packet)?;
    let socket: u64 = packet.load(layout!(skb_sk))?;
    let socket = Kernel::at(socket as *const c_void)?;
    if socket.read::<u16>(layout!(sock_family))? != AF_UNIX {
        return None;
    }
    let length = length(packet);
    if length != 0 {
        return unix_heads::took(packet, socket, length);
    }
    let kind: u16 = socket.read(layout!(sock_type))?;
    match (socket.read::<u8>(layout!(sock_state))?, kind) {
        (ESTABLISHED, SOCK_STREAM) => accepted(socket),
        // A socket that was made for the other end has no type before it is connected.
        (CLOSE, 0) => not_dialled(),
        _ => None,
    }
}

/// `accept(2)` took it. While nobody watches UNIX connections, only its dialler is told, once.
#[inline(always)]
fn accepted(socket: Kernel) -> Option<()> {
    let Some(known) = unix::known(socket.number()) else {
        return tell_dialler(socket);
    };
    known.take();
    None
}

#[inline(never)]
fn tell_dialler(socket: Kernel) -> Option<()> {
    let pid: u32 = socket
        .follow(layout!(sock_peer_pid))?
        .read(layout!(pid_number))?;
    if is_dialler(pid) {
        return None;
    }
    note_dialler(pid);
    emit::write::<UnixDialler>(kind::UNIX_DIALLER, |record| {
        record.header = connection::header::<UnixDialler>(kind::UNIX_DIALLER, 0);
        record.pid = pid;
        record.padding = [0; 4];
    });
    None
}

/// `connect(2)` failed: what it was asked for is still in the registers. Why it failed shows only
/// as it returns.
#[inline(never)]
fn not_dialled() -> Option<()> {
    let registers = calls::registers()?;
    let number: u64 = registers.read(layout!(regs_number))?;
    if number as u32 != layout!(call_connect) {
        return None;
    }
    let address: u64 = registers.read(layout!(regs_second))?;
    let length: u64 = registers.read(layout!(regs_third))?;
    tries::note_dialled();
    let now = connection::now();
    let cookie = now | OUR_OWN;
    let tid = bpf_get_current_pid_tgid() as u32;
    let before = order::take_failed_try(tid).cookie;
    emit::write::<UnixDial>(kind::UNIX_DIAL, |record| {
        record.header = connection::header::<UnixDial>(kind::UNIX_DIAL, 0);
        record.cookie = cookie;
        kernel::write_task(kernel::current(), &mut record.task);
        record.before = before;
        record.padding = 0;
        record.path = [0; PATH];
        let length = (length as u32).saturating_sub(2);
        let copied = calls::write_user(address + 2, length, &mut record.path);
        record.path_length = copied.unwrap_or(0);
    });
    order::note_let_go(cookie, true);
    None
}
