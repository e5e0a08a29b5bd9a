//! RSTs that this host sends and receives (`include/trace/events/tcp.h`).

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::bpf_skc_to_tcp_sock,
    macros::{btf_tracepoint, map},
    maps::PerCpuArray,
    programs::BtfTracePointContext,
};
use probe502_common::{Reset, Tuple, flag, how, kind, role};

use crate::{
    body, connection, emit, headers,
    kernel::{Kernel, Sock},
    layout::layout,
    packet,
    states::{CLOSE_WAIT, SYN_SENT},
    tries,
};

const EPIPE: u16 = 32;
const ECONNRESET: u16 = 104;
const ECONNREFUSED: u16 = 111;
/// RST and ACK: only a RST that refuses a SYN has both (RFC 9293, 3.10.7.1).
const REFUSAL: u8 = 4 | 16;

/// The RST that [`tcp_send_reset`] told of last on this processor, for its twin.
#[map]
static TOLD: PerCpuArray<Identity> = PerCpuArray::with_max_entries(1, 0);

#[btf_tracepoint(function = "tcp_send_reset")]
pub fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    if let Some(told) = TOLD.get_ptr_mut(0) {
        // SAFETY: this processor's own element.
        unsafe { *told = identity(&ctx) };
    }
    reset_sent(ctx.arg(0), ctx.arg(1), reason(&ctx));
    0
}

/// The twin of [`tcp_send_reset`], as `set_state_twin` is: it tells what the first was skipped for.
/// Told twice, where a packet came in between, is harmless.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn tcp_send_reset_twin(ctx: BtfTracePointContext) -> i32 {
    if let Some(told) = TOLD.get_ptr_mut(0) {
        // SAFETY: this processor's own element.
        let told = unsafe { &mut *told };
        let this = identity(&ctx);
        let was_told = told.socket == this.socket && told.packet == this.packet;
        told.packet = 0;
        told.socket = 0;
        if was_told {
            return 0;
        }
    }
    reset_sent(ctx.arg(0), ctx.arg(1), reason(&ctx));
    0
}

/// The addresses of socket and packet; either may be null.
#[derive(Clone, Copy)]
#[repr(C)]
struct Identity {
    socket: u64,
    packet: u64,
}

#[inline(always)]
fn identity(ctx: &BtfTracePointContext) -> Identity {
    Identity {
        socket: ctx.arg(0),
        packet: ctx.arg(1),
    }
}

#[inline(always)]
fn reason(ctx: &BtfTracePointContext) -> u32 {
    if layout!(reset_has_reason) == 1 {
        ctx.arg(2)
    } else {
        u32::MAX
    }
}

#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    reset_heard(ctx.arg(0));
    0
}

/// The twin of [`tcp_receive_reset`].
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn tcp_receive_reset_twin(ctx: BtfTracePointContext) -> i32 {
    reset_heard(ctx.arg(0));
    0
}

/// ICMP errors come this way; the local port is about to be forgotten.
#[btf_tracepoint(function = "inet_sk_error_report")]
pub fn inet_sk_error_report(ctx: BtfTracePointContext) -> i32 {
    error_heard(ctx.arg(0));
    0
}

#[inline(always)]
fn reset_sent(socket: *const c_void, packet: *const c_void, reason: u32) -> Option<()> {
    // A RST that a dialling socket sends is a consequence: its holder gave up.
    let known = if socket.is_null() {
        None
    } else {
        connection::of(socket)
    };
    let (cookie, role) = known
        .as_ref()
        .map_or((0, role::UNKNOWN), |known| (known.cookie, known.role));
    if role == role::DIALLED {
        return None;
    }
    let headers = Kernel::at(packet).and_then(headers::Headers::of);
    emit::write::<Reset>(kind::RESET, |record| {
        let netns = Kernel::at(packet).map_or(0, headers::netns);
        record.header = connection::header::<Reset>(kind::RESET, netns);
        record.cookie = cookie;
        record.reason = reason;
        record.role = role;
        record.sequence = headers.map_or(0, headers::Headers::sequence);
        record.padding = [0; 7];
        if let Some(headers) = headers {
            headers.write_tuple(&mut record.tuple);
            reverse(&mut record.tuple);
        } else if let Some(known) = known {
            record.tuple = known.tuple;
            record.header.netns = known.netns;
        } else if let Some(sock) = Sock::at(socket) {
            sock.write_tuple(&mut record.tuple);
            record.header.netns = sock.netns();
        }
    });
    None
}

/// The kernel refuses a SYN that no socket waits for, by a raw socket of its own. Before Linux 6.10
/// `tcp_send_reset` does not tell of it (`net/ipv4/tcp_ipv4.c`), and this packet is its only trace;
/// over IPv6 the packet has no socket, and leaves none.
#[inline(never)]
pub fn refused(packet: *mut __sk_buff, socket: *mut bpf_sock) -> Option<()> {
    let start = packet::start(packet)?;
    if start.flags & REFUSAL != REFUSAL {
        return None;
    }
    // One more than the SYN's (RFC 9293, 3.10.7.1).
    let acknowledges: [u8; 4] = packet::read(packet, start.tcp + 8)?;
    // SAFETY: the socket is a full one; the helper answers null for those that are not TCP's.
    let sock = Sock::at(unsafe { bpf_skc_to_tcp_sock(socket.cast()) }.cast());
    let netns = sock.map_or(0, Sock::netns);
    emit::write::<Reset>(kind::RESET, |record| {
        record.header = connection::header::<Reset>(kind::RESET, netns);
        record.cookie = 0;
        record.reason = u32::MAX;
        record.role = role::UNKNOWN;
        record.sequence = u32::from_be_bytes(acknowledges).wrapping_sub(1);
        record.padding = [0; 7];
        let tuple = &mut record.tuple;
        packet::write_addresses(packet, &start, &mut tuple.local, &mut tuple.remote);
        (tuple.local_port, tuple.remote_port) = (start.source_port, start.target_port);
        tuple.padding = [0; 4];
    });
    None
}

#[inline(always)]
fn reset_heard(socket: *const c_void) -> Option<()> {
    let connection = connection::of(socket)?;
    if connection.has(flag::RESET_HEARD) {
        return None;
    }
    connection.reset_at = connection::now();
    connection.flags |= flag::RESET_HEARD;
    tries::note_parted(connection);
    keep_port(socket, connection)
}

/// The kernel sets the error before the state, and its holder may take it in between, on another
/// processor (`SO_ERROR`): what `tcp_reset` had set; 0 where a dial failed otherwise. `None`: its
/// holder ended it.
#[inline(always)]
pub fn taken_error(known: &connection::Connection, sock: Sock, state: u8) -> Option<u16> {
    let is_reset = known.has(flag::RESET_HEARD);
    match state {
        _ if sock.is_closing() => None,
        SYN_SENT => Some(if is_reset { ECONNREFUSED } else { 0 }),
        CLOSE_WAIT => is_reset.then_some(EPIPE),
        _ => is_reset.then_some(ECONNRESET),
    }
}

/// The other end took away a request that had no answer yet, or under `--silent` may not have had all of it;
/// whoever holds it need not know for long.
#[inline(always)]
pub fn cut_off(connection: &connection::Connection, sock: Sock, state: u8) -> Option<()> {
    let tcp = sock.tcp()?;
    let received = connection.received(tcp);
    let unanswered =
        received != connection.received_mark && connection.speaker != connection::HOLDER;
    let told = unanswered || body::may_be_cut(connection);
    if connection.role != role::ACCEPTED || !told {
        return None;
    }
    let moment = connection::Moment {
        kind: kind::ENDED,
        status: 0,
        how: how::RELEASED,
        state,
        received,
        written: tcp.written(),
        unread: tcp.unread(),
        flags: if sock.is_held() { flag::HELD } else { 0 },
        marks: 0,
        acted: false,
    };
    connection::send(connection, &moment);
    None
}

#[inline(always)]
fn error_heard(socket: *const c_void) -> Option<()> {
    let connection = connection::of(socket)?;
    let sock = Sock::at(socket)?;
    if let Some(told) = sock.queued_error() {
        connection.soft_error = told.errno as u16;
        connection.icmp_origin = told.origin;
        connection.icmp_type = told.kind;
        connection.icmp_code = told.code;
    }
    if let known @ 1.. = sock.soft_error() {
        connection.soft_error = known;
    }
    keep_port(socket, connection)
}

#[inline(always)]
fn keep_port(socket: *const c_void, connection: &mut connection::Connection) -> Option<()> {
    let sock = Sock::at(socket)?;
    if connection.tuple.local_port == [0; 2] && !sock.is_disconnected() {
        connection.remember(sock);
    }
    None
}

/// The packet came from the other end; the record speaks of ours.
#[inline(always)]
const fn reverse(tuple: &mut Tuple) {
    core::mem::swap(&mut tuple.local, &mut tuple.remote);
    core::mem::swap(&mut tuple.local_port, &mut tuple.remote_port);
}
