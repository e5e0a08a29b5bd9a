//! Whether an answer ended before it was whole: within its header, or within its body.

use probe502_common::{HEAD, role};

use crate::{
    connection::{Connection, HOLDER},
    header,
    kernel::TcpSock,
    layout::layout,
    messages::is_request,
};

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
    layout!(silent) == 1
        && connection.role == role::ACCEPTED
        && connection.speaker == HOLDER
        && !connection.was_left()
        && is_request(&connection.heard_head, connection.heard_head_length)
}
