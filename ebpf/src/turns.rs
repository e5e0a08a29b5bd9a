//! Whose turn it is: where a message begins, and what only goes on with one.

use probe502_common::{flag, role};

use crate::{
    connection::{Connection, HOLDER},
    messages::{STATUS_LINE, is_request},
    words::{self, Peek},
};

/// A message begins where the other end has spoken since the last one began, and after an interim
/// answer (`1xx`, RFC 9110, 15.2).
#[inline(always)]
pub fn begins(connection: &Connection, received: u64) -> bool {
    connection.said == 0 || received != connection.received_mark || is_interim(connection)
}

/// Whether the last message said was an interim answer: the one that counts is still to come.
#[inline(always)]
pub fn is_interim(connection: &Connection) -> bool {
    connection.said_head_length >= 12
        && connection.said_head[4] == b'/'
        && connection.said_head[9] == b'1'
}

/// Whether the last message said is a request that may have a body.
#[inline(always)]
pub fn may_write_body(connection: &Connection) -> bool {
    let head = &connection.said_head;
    connection.role == role::DIALLED
        && connection.said > 0
        && !matches!(head[0], b'G' | b'H')
        && is_request(head, connection.said_head_length)
}

/// Whether these bytes, written after something was heard, begin no request. After an interim answer
/// (RFC 9110, 15.2) the one that counts is still to come.
#[inline(always)]
pub fn goes_on(connection: &mut Connection, peek: &Peek, received: u64) -> bool {
    if words::name_method(&peek.0) {
        return false;
    }
    if heard_interim(connection) {
        connection.speaker = HOLDER;
        connection.received_mark = received;
    }
    true
}

/// Whether what comes next is a message of its own: the one heard was an interim answer.
#[inline(always)]
pub fn is_over(connection: &Connection) -> bool {
    connection.role == role::DIALLED && heard_interim(connection)
}

/// Whether the last message heard is an interim answer.
#[inline(always)]
fn heard_interim(connection: &Connection) -> bool {
    let head = &connection.heard_head;
    connection.heard_head_length >= STATUS_LINE
        && head[0] == b'H'
        && head[4] == b'/'
        && head[9] == b'1'
}

/// A server that greets before it is asked may not say more.
#[inline(always)]
pub fn is_greeted(connection: &Connection) -> bool {
    connection.role == role::DIALLED
        && connection.said == 1
        && connection.heard > 0
        && !connection.has(flag::LATE)
}
