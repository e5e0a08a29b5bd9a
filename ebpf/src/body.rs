//! Whether an answer ended before it was whole: within its header, or within its body.

use probe502_common::{HEAD, Talk, framing, role};

use crate::{
    connection::{Connection, HOLDER, Moment},
    header,
    kernel::TcpSock,
    layout::layout,
    messages::is_request,
};

/// Under `--silent`: how an answer's body is delimited, and the last that was seen of it.
#[repr(C)]
pub struct Body {
    /// Its `Content-Length`.
    pub length: u64,
    /// Bytes of its header, 0 not known.
    pub header: u32,
    /// Bits of `probe502_common::framing`.
    pub framing: u32,
    /// The sequence number at which its header began.
    pub begun: u32,
    /// The last four bytes, the very last one lowest.
    pub last: u32,
    /// The sequence number behind them.
    pub end: u32,
    /// 1 where they are known.
    pub ends: u32,
}

/// A socket that begins anew.
#[inline(always)]
pub fn renew(body: &mut Body) {
    if layout!(silent) == 1 {
        body.framing = 0;
        body.header = 0;
        body.ends = 0;
    }
}

/// The sequence number at which the answer began that a server says or its client hears; `None` where
/// that is not known.
#[inline(always)]
pub fn begun(connection: &Connection) -> Option<u32> {
    match connection.role {
        role::ACCEPTED => Some(connection.said_mark),
        role::DIALLED if connection.peer_isn != 0 => {
            let first = connection.peer_isn.wrapping_add(1);
            Some(first.wrapping_add(connection.received_mark as u32))
        }
        _ => None,
    }
}

/// What a record says of the body.
#[inline(always)]
pub fn fill(to: &mut Talk, from: &Connection, moment: &Moment) {
    (to.announced, to.header_bytes, to.framing) = (0, 0, 0);
    if layout!(silent) == 0 {
        return;
    }
    let body = &from.body;
    let Some(begun) = begun(from) else {
        return;
    };
    if body.begun == begun {
        to.announced = body.length;
        to.header_bytes = body.header;
        to.framing = body.framing;
    }
    let end = if from.role == role::ACCEPTED {
        moment.written
    } else {
        let heard = moment.received.saturating_sub(from.received_mark);
        begun.wrapping_add(heard as u32)
    };
    // Of what came behind them nothing is known.
    if body.ends == 1 && body.end == end {
        to.framing |= ending(body.last);
    }
}

/// Whether a body in chunks may end with these bytes: some end lines with LF alone.
#[inline(always)]
const fn ending(last: u32) -> u32 {
    if last == u32::from_be_bytes(*b"\r\n\r\n") || last as u16 == u16::from_be_bytes(*b"\n\n") {
        framing::ENDS_EMPTY
    } else {
        framing::ENDS_WITHIN
    }
}

/// A short answer that ended before its header did (RFC 9112, 2.1).
#[inline(always)]
pub fn ends_in_header(connection: &Connection, tcp: TcpSock) -> bool {
    let length = tcp.written().wrapping_sub(connection.said_mark);
    if connection.said == 0
        || length > HEAD as u32
        || !is_request(&connection.heard_head, connection.heard_head_length)
    {
        return false;
    }
    !header::ends_within(
        &connection.said_head,
        u32::from(connection.said_head_length),
    )
}

/// Under `--silent`: its holder lets go of it, unasked, as it answers. Whether that was the answer's end
/// is for user space to say: to look for its length here costs the verifier a minute at each start-up.
#[inline(always)]
pub fn may_end_in_body(connection: &Connection) -> bool {
    !connection.was_left() && may_be_cut(connection)
}

/// The same where it is the other end that lets go.
#[inline(always)]
pub fn may_be_cut(connection: &Connection) -> bool {
    layout!(silent) == 1
        && connection.role == role::ACCEPTED
        && connection.speaker == HOLDER
        && is_request(&connection.heard_head, connection.heard_head_length)
}
