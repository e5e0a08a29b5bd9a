//! What a gateway says over TLS, as far as the records' headers show it.

use probe502_common::{HEAD, flag, role};

use crate::{connection::Connection, turns};

/// How a record of application data begins (RFC 8446, 5.1).
const APPLICATION_DATA: [u8; 2] = [23, 3];
/// How an alert's record begins.
const ALERT: [u8; 2] = [21, 3];
/// An encrypted alert with its record's header, in TLS 1.3.
const SEALED_ALERT: u64 = 24;

/// Whether the bytes begin as a TLS record does (RFC 8446, 5.1).
#[inline(always)]
pub fn is_tls(head: &[u8; HEAD]) -> bool {
    matches!(head[0], 20..=23) && head[1] == 3
}

/// Whether a write is no more than a TLS alert. After a request it is a farewell, and no message.
#[inline(always)]
pub fn is_alert(first: [u8; 2], written: u64) -> bool {
    first == ALERT || first == APPLICATION_DATA && written <= SEALED_ALERT
}

/// Whether all that was heard is an alert: the other end's last word, which no message answers.
#[inline(always)]
fn heard_alert(connection: &Connection) -> bool {
    let first = [connection.heard_head[0], connection.heard_head[1]];
    let length = u64::from(connection.heard_head_length);
    first == ALERT && length > 0 || first == APPLICATION_DATA && length == SEALED_ALERT
}

/// Whether nothing followed the ClientHello: the handshake did not come about.
#[inline(always)]
pub fn is_unfinished(connection: &Connection) -> bool {
    connection.said == 1
        && !connection.has(flag::LATE | flag::ASKED)
        && is_tls(&connection.said_head)
}

/// A gateway's message has begun: notes that TLS application data leaves, where it is more than an
/// alert. What was heard before is forgotten, unless it is an alert, or an alert answers it.
#[inline(always)]
pub fn note_asked(connection: &mut Connection, written: u64) {
    let first = [connection.said_head[0], connection.said_head[1]];
    asked_by(connection, first, written);
    if connection.role == role::DIALLED
        && !is_alert(first, written)
        && !heard_alert(connection)
        && !turns::is_greeted(connection)
    {
        connection.heard_head_length = 0;
    }
}

/// An accepting end writes, and so many bytes lie unread: a server's session tickets leave before it
/// reads the request. A farewell says nothing.
#[inline(always)]
pub fn note_unread(connection: &mut Connection, (first, written): ([u8; 2], u64), unread: u32) {
    if connection.role == role::ACCEPTED
        && is_tls(&connection.said_head)
        && !is_alert(first, written)
    {
        // A FIN counts as one.
        let fin = u32::from(connection.has(flag::FIN_HEARD));
        connection.unread_then = unread.saturating_sub(fin);
    }
}

#[inline(always)]
pub fn asked_by(connection: &mut Connection, first: [u8; 2], written: u64) {
    if first == APPLICATION_DATA && written > SEALED_ALERT {
        connection.flags |= flag::ASKED;
    }
}
