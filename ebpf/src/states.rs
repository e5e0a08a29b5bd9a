//! Connections and listeners that come, change and go (`inet_sock_set_state`, `tcp_destroy_sock`).

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::bpf_get_socket_cookie, macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use probe502_common::{Listener, flag, how, kind, role};

use crate::{
    afterwards, body,
    connection::{self, Connection, HOLDER, Moment},
    deferred, dials, emit, header, kernel,
    kernel::{Sock, TCP, TcpSock},
    messages::is_request,
    order, resets, tls, tries,
};

// net/tcp_states.h
const ESTABLISHED: u8 = 1;
pub const SYN_SENT: u8 = 2;
const SYN_RECV: u8 = 3;
const FIN_WAIT1: u8 = 4;
pub const CLOSE: u8 = 7;
pub const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
pub const LISTEN: u8 = 10;

/// No local port is left for the address (connect(2)).
const EADDRNOTAVAIL: u16 = 99;

/// A connection that its holder closes after this long in silence was closed by an idle timer, not
/// at the end of an answer. A judgement of probe502's own; the shortest timers in use are a second.
const IDLE: u64 = 100_000_000;

#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn set_state(ctx: BtfTracePointContext) -> i32 {
    changed(&ctx);
    0
}

/// The twin of [`set_state`]: the kernel skips a program that interrupts itself on one processor
/// (`recursion_misses`), as when a packet arrives while a task closes a socket; but not its twin.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn set_state_twin(ctx: BtfTracePointContext) -> i32 {
    changed(&ctx);
    0
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
pub fn destroy_sock(ctx: BtfTracePointContext) -> i32 {
    released(ctx.arg(0));
    0
}

/// The twin of [`destroy_sock`].
#[btf_tracepoint(function = "tcp_destroy_sock")]
pub fn destroy_sock_twin(ctx: BtfTracePointContext) -> i32 {
    released(ctx.arg(0));
    0
}

#[inline(always)]
fn changed(ctx: &BtfTracePointContext) -> Option<()> {
    let socket: *const c_void = ctx.arg(0);
    let (old, new): (u32, u32) = (ctx.arg(1), ctx.arg(2));
    let (old, new) = (old as u8, new as u8);
    let sock = Sock::at(socket)?;
    if sock.protocol() != TCP {
        return None;
    }
    if let Some(known) = connection::of(socket) {
        if known.seen_state == new {
            return None;
        }
        known.seen_state = new;
    }
    match (old, new) {
        (LISTEN, CLOSE) => listener(socket, sock, kind::LISTENED),
        (_, LISTEN) => listener(socket, sock, kind::LISTENS),
        (CLOSE, SYN_SENT) => dialled(socket, sock),
        (SYN_SENT, ESTABLISHED) => connected(socket, sock),
        (SYN_RECV, ESTABLISHED) => accepted(socket, sock),
        (ESTABLISHED, CLOSE_WAIT) => fin_heard(socket),
        (ESTABLISHED, FIN_WAIT1) | (CLOSE_WAIT, LAST_ACK) => let_go(socket, sock, how::FIN, old),
        (ESTABLISHED | SYN_SENT | CLOSE_WAIT, CLOSE) => closed(socket, sock, old),
        _ => None,
    }
}

#[inline(never)]
fn listener(socket: *const c_void, sock: Sock, kind: u16) -> Option<()> {
    // A port that the kernel chose is given back before the listener's end is told.
    let kept = if kind == kind::LISTENS {
        if let Some(made) = connection::of_new(socket) {
            made.remember(sock);
            made.seen_state = LISTEN;
        }
        None
    } else {
        let kept = connection::of(socket);
        if kept.is_none() {
            connection::of_new(socket)?.seen_state = CLOSE;
        }
        kept
    };
    emit::write::<Listener>(kind, |record| {
        record.header = connection::header::<Listener>(kind, sock.netns());
        // SAFETY: the helper checks the socket.
        record.cookie = unsafe { bpf_get_socket_cookie(socket.cast_mut()) };
        kernel::write_task(kernel::current(), &mut record.task);
        sock.write_tuple(&mut record.tuple);
        if let Some(kept) = kept {
            record.tuple = kept.tuple;
        }
        (record.queued, record.limit) = sock.backlog();
        record.flags = connection::dying();
        record.v6_only = u8::from(sock.v6_only());
        record.padding = [0; 5];
    });
    None
}

#[inline(always)]
fn dialled(socket: *const c_void, sock: Sock) -> Option<()> {
    let connection = begin(socket, sock, role::DIALLED)?;
    connection.seen_state = SYN_SENT;
    let tid = kernel::tid(kernel::current());
    let before = order::take_failed_try(tid);
    connection.before = before.cookie;
    connection.rescues = u8::from(before.failed);
    kernel::write_task(kernel::current(), &mut connection.owner);
    tries::note_dialled();
    None
}

#[inline(always)]
fn accepted(socket: *const c_void, sock: Sock) -> Option<()> {
    let connection = begin(socket, sock, role::ACCEPTED)?;
    connection.seen_state = ESTABLISHED;
    connection.established_at = connection.opened_at;
    connection.flags = flag::ESTABLISHED;
    deferred::adopt(connection);
    connection.count(sock.tcp()?);
    None
}

/// A socket may dial again after a failure: nothing of the earlier life stays.
#[inline(always)]
fn begin(socket: *const c_void, sock: Sock, role: u8) -> Option<&'static mut Connection> {
    let connection = connection::of_new(socket)?;
    // SAFETY: the helper checks the socket.
    connection.cookie = unsafe { bpf_get_socket_cookie(socket.cast_mut()) };
    connection.remember(sock);
    connection.renew(role);
    Some(connection)
}

#[inline(always)]
fn connected(socket: *const c_void, sock: Sock) -> Option<()> {
    let connection = connection::of(socket)?;
    connection.remember(sock);
    connection.established_at = connection::now();
    connection.flags |= flag::ESTABLISHED;
    connection.count(sock.tcp()?);
    None
}

#[inline(always)]
fn fin_heard(socket: *const c_void) -> Option<()> {
    let connection = connection::of(socket)?;
    connection.fin_at = connection::now();
    connection.flags |= flag::FIN_HEARD;
    tries::note_parted(connection);
    None
}

/// By the kernel (an error is set), by `close(2)` (both directions are shut), or by its listener's
/// end (neither: `inet_csk_listen_stop` disconnects children that were never accepted).
#[inline(never)]
fn closed(socket: *const c_void, sock: Sock, old: u8) -> Option<()> {
    let error = sock.error();
    if error != 0 {
        return ended(connection::of(socket)?, sock, (old, error));
    }
    // The sequence is chosen after the port (`tcp_v4_connect`).
    if old == SYN_SENT && !sock.is_closing() && sock.tcp()?.written() == 0 {
        connection::of(socket)?.error = EADDRNOTAVAIL;
    } else if let Some(known) = connection::of(socket)
        && let Some(error) = resets::taken_error(known, sock, old)
    {
        return ended(known, sock, (old, error));
    }
    let how = if !sock.is_closing() {
        if sock.is_held() {
            how::RELEASED
        } else {
            how::QUEUED
        }
    } else if old == SYN_SENT {
        how::RELEASED
    } else if sock.tcp()?.unread() > 0 {
        how::UNREAD
    } else if sock.lingers_zero() {
        how::LINGER
    } else {
        how::RELEASED
    };
    let_go(socket, sock, how, old)
}

/// The kernel ended it: it is told of as its holder lets go.
#[inline(always)]
fn ended(connection: &mut Connection, sock: Sock, (old, error): (u8, u16)) -> Option<()> {
    connection.error = error;
    connection.ended_state = old;
    connection.count(sock.tcp()?);
    resets::cut_off(connection, sock, old)
}

/// A socket that the kernel had ended is given back by its holder.
#[inline(always)]
fn released(socket: *const c_void) -> Option<()> {
    let connection = connection::of(socket)?;
    if connection.role == role::ACCEPTED {
        return None;
    }
    let state = connection.ended_state;
    let_go(socket, Sock::at(socket)?, how::RELEASED, state)
}

#[inline(never)]
fn let_go(socket: *const c_void, sock: Sock, how: u8, state: u8) -> Option<()> {
    let connection = match connection::of(socket) {
        Some(known) => known,
        None => stranger(socket, sock, state)?,
    };
    if connection.gone == 1 {
        return None;
    }
    connection.gone = 1;
    if connection.tuple.local_port == [0; 2] && !sock.is_disconnected() {
        connection.remember(sock);
    }
    // It never came to a packet.
    if state == CLOSE {
        connection.error = dials::error_of(connection);
    }
    // Told by the state itself, should the kernel have skipped the hook when it changed.
    if matches!(state, ESTABLISHED | CLOSE_WAIT) {
        connection.flags |= flag::ESTABLISHED;
    }
    if state == CLOSE_WAIT && !connection.has(flag::FIN_HEARD) {
        connection.flags |= flag::FIN_HEARD;
        connection.fin_at = connection::now();
    }
    let tcp = sock.tcp()?;
    if connection.ended_state == 0 {
        connection.count(tcp);
    }
    let received = connection.received(tcp);
    connection.count_unread();
    let worth = worth(connection, how, received, tcp);
    if matches!(worth, Worth::Nothing) {
        return None;
    }
    let marks = order::note_end(connection, matches!(worth, Worth::Telling));
    let held = if sock.is_held() { flag::HELD } else { 0 };
    let moment = Moment {
        kind: kind::ENDED,
        status: 0,
        how,
        state,
        received,
        written: tcp.written(),
        unread: tcp
            .unread()
            .saturating_sub(u32::from(connection.has(flag::FIN_HEARD))),
        flags: connection::dying() | held | connection::copied(connection),
        marks,
        acted: true,
    };
    match worth {
        Worth::Telling => connection::send(connection, &moment),
        Worth::Keeping if afterwards::follows_failure(connection) => {
            connection::send(connection, &moment);
        }
        Worth::Keeping => afterwards::hold_back(connection, &moment),
        Worth::Nothing => {}
    }
    None
}

/// A socket that was never seen before it ends.
#[inline(always)]
fn stranger(socket: *const c_void, sock: Sock, state: u8) -> Option<&'static mut Connection> {
    let made = connection::of_new(socket)?;
    // SAFETY: the helper checks the socket.
    made.cookie = unsafe { bpf_get_socket_cookie(socket.cast_mut()) };
    made.adopt(sock);
    // It never came to be.
    if state == SYN_SENT {
        made.role = role::DIALLED;
        made.flags &= !flag::ESTABLISHED;
    }
    Some(made)
}

/// What a connection's end is worth to the agent.
enum Worth {
    /// An end like any other.
    Nothing,
    /// It may explain a failed answer of the same thread, if one follows.
    Keeping,
    /// A request had no answer, or its holder died.
    Telling,
}

#[inline(always)]
fn worth(connection: &Connection, how: u8, received: u64, tcp: TcpSock) -> Worth {
    let heard_more = received != connection.received_mark;
    let is_dying = || kernel::is_exiting(kernel::current());
    match connection.role {
        role::DIALLED if connection.said > 0 && heard_more && !broke_off(connection, received) => {
            if how == how::FIN && idled(connection) && asks_in_clear(connection) {
                Worth::Telling
            } else {
                Worth::Keeping
            }
        }
        role::DIALLED => Worth::Telling,
        role::ACCEPTED => {
            let unanswered = heard_more && connection.speaker != HOLDER;
            let untouched = connection.said == 0 && received == 0;
            let told = unanswered
                || untouched && !connection.has(flag::FIN_HEARD)
                || how == how::QUEUED
                || timed_out(connection)
                || body::ends_in_header(connection, tcp)
                || body::may_end_in_body(connection)
                || order::broken_off(connection)
                || is_dying();
            if told { Worth::Telling } else { Worth::Nothing }
        }
        _ if heard_more && connection.said > 0 && !is_dying() => Worth::Keeping,
        _ => Worth::Telling,
    }
}

/// What was heard is surely no whole header: no answer of the same thread need ask for it.
#[inline(always)]
fn broke_off(connection: &Connection, received: u64) -> bool {
    if !is_request(&connection.said_head, connection.said_head_length) {
        return tls::is_unfinished(connection);
    }
    let kept = u32::from(connection.heard_head_length);
    let whole = if connection.has(flag::HEADER_SCANNED) {
        connection.has(flag::HEADER_END_HEARD)
    } else {
        connection.heard_bytes(received) > u64::from(kept)
            || header::ends_within(&connection.heard_head, kept)
    };
    !whole
}

/// Its holder closed it after a silence: an idle timer.
#[inline(always)]
fn timed_out(connection: &Connection) -> bool {
    let silence = connection::now().saturating_sub(connection.spoke_at);
    connection.said > 0 && !connection.has(flag::FIN_HEARD) && silence >= IDLE
}

/// Either end closed it after a silence of both: it tells how long pooled connections live.
#[inline(always)]
fn idled(connection: &Connection) -> bool {
    let last = if connection.listened_at > connection.spoke_at {
        connection.listened_at
    } else {
        connection.spoke_at
    };
    let end = if connection.has(flag::FIN_HEARD) {
        connection.fin_at
    } else {
        connection::now()
    };
    end.saturating_sub(last) >= IDLE
}

/// Whether its holder is a client in HTTP/1: others' idle connections are nobody's upstreams.
#[inline(always)]
fn asks_in_clear(connection: &Connection) -> bool {
    is_request(&connection.said_head, connection.said_head_length)
}
