//! What leaves a socket, seen in its writer's own context (`tcp_sendmsg_locked`, Linux 6.16).

use core::ffi::c_void;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    helpers::generated::{bpf_get_socket_cookie, bpf_probe_read_user},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use probe502_common::{HEAD, flag, how, kind, role};

use crate::{
    afterwards,
    connection::{self, Connection, HOLDER, Moment},
    kernel::{self, Kernel, Sock, TCP, TcpSock},
    layout::{is_watched, layout},
    names, order, speech, tls, tries, turns, unix, unix_waiting,
    words::{self, Peek},
};

/// `struct iovec`: base, then length.
pub const IOVEC_LENGTH: u32 = 8;
pub const IOVEC_SIZE: u64 = 16;
/// Some write each word as a piece of its own (Varnish): so many hold a status line, or a request line
/// and the first fields.
const PIECES: u64 = 12;
/// A first piece that is shorter may be a mere word.
const WORD: u16 = 16;
/// Bytes of a status line up to its code (RFC 9112, 4).
pub const STATUS_LINE: u16 = 12;

#[btf_tracepoint(function = "tcp_sendmsg_locked")]
pub fn tcp_sendmsg(ctx: BtfTracePointContext) -> i32 {
    sent(ctx.arg(0), ctx.arg(1));
    0
}

#[inline(always)]
fn sent(socket: *const c_void, message: *const c_void) -> Option<()> {
    let sock = Sock::at(socket)?;
    let connection = connection_of(socket, sock)?;
    connection.spoke_at = connection::now();
    said(connection, sock.tcp()?, Kernel::at(message)?);
    if connection.role != role::ACCEPTED {
        let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
        tries::note_asked(pid, connection.spoke_at);
    }
    None
}

#[inline(always)]
fn said(connection: &mut Connection, tcp: TcpSock, message: Kernel) -> Option<()> {
    let received = connection.received(tcp);
    let buffer = buffer(message);
    if buffer.is_none() && connection.role == role::ACCEPTED {
        // From pages (`splice`, `sendfile`, TLS in the kernel): unreadable, but an answer.
        connection.answer(received);
    }
    if turns::begins(connection, received) && !is_body(connection, buffer, received) {
        let (base, length) = buffer?;
        begin(
            connection,
            bpf_get_current_pid_tgid() as u32,
            received,
            tcp.written(),
        );
        let written = length;
        let length = read_user(&mut connection.said_head, base, length);
        connection.said_head_length = length;
        tls::note_asked(connection, written);
        let first = [connection.said_head[0], connection.said_head[1]];
        tls::note_unread(connection, (first, written), tcp.unread());
        if length < WORD {
            gather(connection, message);
        }
        speech::learn(connection);
        let status = status(&connection.said_head, connection.said_head_length);
        learn_role(connection, status.is_some());
        tell_if_watched(connection, status, received, tcp.written());
    } else if connection.role == role::DIALLED {
        if tls::is_tls(&connection.said_head) && !connection.has(flag::ASKED) {
            let (base, length) = buffer?;
            let mut peek = [0; 2];
            read_user(&mut peek, base, length);
            tls::asked_by(connection, peek, length);
        }
    } else {
        let (base, length) = buffer?;
        let before = connection.said_head_length;
        // Behind what was not kept of an earlier write, it would not be what follows.
        if tcp.written().wrapping_sub(connection.said_mark) == u32::from(before) {
            append(connection, base, length);
        }
        let mut peek = Peek([0; 16]);
        let seen = read_user(&mut peek.0, base, length);
        let first = [peek.0[0], peek.0[1]];
        tls::note_unread(connection, (first, length), tcp.unread());
        // A pipelined answer begins although nothing was received since the last one.
        if !tell_completed(connection, before, received, tcp.written()) {
            tell_continued(connection, status(&peek.0, seen), received, tcp.written());
        }
    }
    None
}

/// Adds to the message's head what a writer of small pieces writes next.
#[inline(always)]
fn append(connection: &mut Connection, base: u64, length: u64) {
    let Some((place, room)) = head_room(&mut connection.said_head, connection.said_head_length)
    else {
        return;
    };
    let size = if length > u64::from(room) {
        room
    } else {
        length as u32
    };
    // SAFETY: at most the room that is left; the helper checks the source.
    let failed = unsafe { bpf_probe_read_user(place.cast(), size, base as *const _) };
    if failed == 0 {
        connection.said_head_length += size as u16;
    }
}

/// Adds the pieces behind the first of a vectored write.
#[inline(never)]
fn gather(connection: &mut Connection, message: Kernel) -> Option<()> {
    let iterator = message.plus(u64::from(layout!(msg_iter)));
    if u32::from(iterator.read::<u8>(layout!(iter_type))?) != layout!(iter_iovec) {
        return None;
    }
    let count: u64 = iterator.read(layout!(iter_count))?;
    let mut left = count.saturating_sub(u64::from(connection.said_head_length));
    let first = iterator.follow(layout!(iter_iov))?;
    let mut index = 1;
    while index < PIECES && left > 0 {
        let piece = first.plus(index * IOVEC_SIZE);
        let base: u64 = piece.read(0)?;
        let length: u64 = piece.read(IOVEC_LENGTH)?;
        append(connection, base, length);
        left = left.saturating_sub(length);
        index += 1;
    }
    None
}

/// Whether a status line that left in pieces is whole now; one that is watched is told.
#[inline(always)]
pub fn tell_completed(
    connection: &mut Connection,
    before: u16,
    received: u64,
    written: u32,
) -> bool {
    let is_whole = before < STATUS_LINE && connection.said_head_length >= STATUS_LINE;
    if is_whole {
        let status = status(&connection.said_head, connection.said_head_length);
        learn_role(connection, status.is_some());
        tell_if_watched(connection, status, received, written);
    }
    is_whole
}

/// Whether a gateway writes on at its request's body, although something was heard: an early or an
/// interim answer; or bids farewell, behind TLS.
#[inline(always)]
fn is_body(connection: &mut Connection, buffer: Option<(u64, u64)>, received: u64) -> bool {
    let is_asked = connection.has(flag::ASKED);
    if !is_asked && !turns::may_write_body(connection) {
        return false;
    }
    let Some((base, length)) = buffer else {
        return false;
    };
    if is_asked {
        let mut first = [0; 2];
        read_user(&mut first, base, length);
        return tls::is_alert(first, length);
    }
    let mut peek = Peek([0; 16]);
    read_user(&mut peek.0, base, length);
    turns::goes_on(connection, &peek, received)
}

/// Where a head's next bytes go, and how many fit; `None` where it is full.
#[inline(always)]
pub fn head_room(head: &mut [u8; HEAD], used: u16) -> Option<(*mut u8, u32)> {
    let used = u32::from(used);
    if used >= HEAD as u32 {
        return None;
    }
    // SAFETY: `used` is within the head.
    let place = unsafe { head.as_mut_ptr().add(used as usize) };
    Some((place, HEAD as u32 - used))
}

/// The socket's storage, made here where the socket is older than the programs.
#[inline(always)]
fn connection_of(socket: *const c_void, sock: Sock) -> Option<&'static mut Connection> {
    if let Some(known) = connection::of(socket) {
        if known.tuple.local_port == [0; 2] {
            known.catch_up(sock);
        }
        return Some(known);
    }
    if sock.protocol() != TCP {
        return None;
    }
    let made = connection::of_new(socket)?;
    // SAFETY: the helper checks the socket.
    made.cookie = unsafe { bpf_get_socket_cookie(socket.cast_mut()) };
    made.adopt(sock);
    Some(made)
}

/// A socket that is older than the programs shows by its next message which end it is.
#[inline(always)]
pub fn learn_role(connection: &mut Connection, is_answer: bool) {
    if connection.role != role::UNKNOWN {
        return;
    }
    if is_answer {
        connection.role = role::ACCEPTED;
    } else if is_request(&connection.said_head, connection.said_head_length) {
        connection.role = role::DIALLED;
        connection.heard_head_length = 0;
        kernel::write_task(kernel::current(), &mut connection.owner);
    }
}

/// Whether the bytes begin as a request line in origin form does (RFC 9112, 3): a method in capitals,
/// a blank, and the path.
#[inline(always)]
pub fn is_request(head: &[u8; HEAD], length: u16) -> bool {
    length >= 16 && words::begin_request(head)
}

#[inline(always)]
pub fn begin(connection: &mut Connection, tid: u32, received: u64, written: u32) {
    if connection.role != role::DIALLED {
        connection.before = order::answers(tid, connection.spoke_at).cookie;
    } else if connection.said > 0 {
        let before = order::take_failed_try(tid);
        connection.before = before.cookie;
        connection.rescues = u8::from(before.failed);
    } else {
        // It was dialled for this request: what came before was noted then.
        order::take_let_go(tid, 0);
    }
    if connection.role == role::DIALLED && connection.listened_at != 0 {
        connection.idled(connection.listened_at, connection.spoke_at);
    }
    connection.heard_before_at = connection.heard_at;
    connection.said_at = connection.spoke_at;
    connection.said = connection.said.wrapping_add(1);
    connection.said_mark = written;
    if !turns::is_greeted(connection) {
        connection.received_mark = received;
        connection.speaker = HOLDER;
    }
    // Another thread may ask on it now, where several share a pool.
    if connection.role == role::DIALLED && tid != connection.owner.tid {
        kernel::write_task(kernel::current(), &mut connection.owner);
    }
}

#[inline(always)]
pub fn tell_if_watched(
    connection: &Connection,
    status: Option<u16>,
    received: u64,
    written: u32,
) -> Option<()> {
    let status = status?;
    if connection.role != role::DIALLED && is_watched(status) {
        tell(connection, status, received, written);
    }
    None
}

/// The request that it answers was heard before others, if it is an answer at all.
#[inline(always)]
pub fn tell_continued(
    connection: &mut Connection,
    status: Option<u16>,
    received: u64,
    written: u32,
) -> Option<()> {
    if is_watched(status?) {
        connection.heard_head_length = 0;
        connection.flags |= flag::CONTINUED;
        let tid = kernel::tid(kernel::current());
        connection.before = order::take_let_go(tid, order::ANSWER).cookie;
        tell_if_watched(connection, status, received, written);
        connection.flags &= !flag::CONTINUED;
    }
    None
}

/// A failed answer leaves: first what its thread held back, then the answer itself.
#[inline(always)]
fn tell(connection: &Connection, status: u16, received: u64, written: u32) {
    afterwards::note_failure(connection);
    unix::send_read_last(kernel::tid(kernel::current()));
    if connection.before == 0 {
        unix_waiting::send_waiting(connection.heard_at);
    }
    names::tell();
    let moment = Moment {
        kind: kind::ANSWERED,
        status,
        how: how::OPEN,
        state: 1,
        received,
        written,
        unread: 0,
        flags: connection::dying() | flag::HELD,
        marks: tries::marks_since(connection.heard_at),
        acted: true,
    };
    connection::send(connection, &moment);
}

/// A status line was heard on a dialled connection.
#[inline(always)]
pub fn tell_heard(connection: &Connection, status: u16, length: u32, flags: u16) {
    let moment = Moment {
        kind: kind::HEARD,
        status,
        how: how::OPEN,
        state: 1,
        received: connection.received_mark + u64::from(length),
        written: connection.said_mark,
        unread: 0,
        flags: flags | flag::HELD,
        marks: 0,
        acted: false,
    };
    connection::send(connection, &moment);
}

/// The status code where the bytes begin as a status line (RFC 9112, 4); `None` otherwise.
#[inline(always)]
pub fn status<const N: usize>(head: &[u8; N], length: u16) -> Option<u16> {
    if length < STATUS_LINE || !words::begin_answer(head) {
        return None;
    }
    let digit = |byte: u8| u16::from(byte.wrapping_sub(b'0'));
    Some(digit(head[9]) * 100 + digit(head[10]) * 10 + digit(head[11]))
}

/// The first piece of the writer's buffer: its address and length in the writer's own memory.
#[inline(always)]
fn buffer(message: Kernel) -> Option<(u64, u64)> {
    let iterator = message.plus(u64::from(layout!(msg_iter)));
    let kind = u32::from(iterator.load::<u8>(layout!(iter_type))?);
    let skip: u64 = iterator.load(layout!(iter_offset))?;
    if kind == layout!(iter_ubuf) {
        let base: u64 = iterator.load(layout!(iter_iov))?;
        return Some((base + skip, iterator.load(layout!(iter_count))?));
    }
    if kind == layout!(iter_iovec) {
        let piece = Kernel::at(iterator.load::<u64>(layout!(iter_iov))? as *const c_void)?;
        let base: u64 = piece.load(0)?;
        let length: u64 = piece.load(IOVEC_LENGTH)?;
        return Some((base + skip, length.saturating_sub(skip)));
    }
    None
}

/// Copies the start of the writer's buffer; returns how many bytes, 0 where it is not resident.
#[inline(always)]
fn read_user<const N: usize>(to: &mut [u8; N], base: u64, length: u64) -> u16 {
    const { assert!(N <= HEAD) };
    let size = if length > N as u64 {
        N as u32
    } else {
        length as u32
    };
    // SAFETY: at most N bytes go into an array of N; the helper checks the source.
    let failed = unsafe { bpf_probe_read_user(to.as_mut_ptr().cast(), size, base as *const _) };
    if failed == 0 { size as u16 } else { 0 }
}
