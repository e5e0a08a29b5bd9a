//! The record of a socket's life: as much of it is sent as there is.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{HEAD, Header, Task, Tuple};

/// Bytes of the message heard in a [`Brief`]: many requests are no longer.
pub const BRIEF: usize = HEAD / 2;

/// The beginning of a [`Flow`], and the whole record of a dial that nobody took: the commonest of a
/// storm.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Socket {
    /// Kind [`ANSWERED`](crate::kind::ANSWERED), [`ENDED`](crate::kind::ENDED) or
    /// [`HEARD`](crate::kind::HEARD).
    pub header: Header,
    /// The socket's cookie (`SO_COOKIE`), unique while the host runs.
    pub cookie: u64,
    /// The acting task: who sends, closes or lets go. Empty (pid 0) for [`HEARD`](crate::kind::HEARD).
    pub task: Task,
    /// The task that dialled this socket, or first sent on it.
    pub owner: Task,
    /// The two ends.
    pub tuple: Tuple,
    /// The cookie of the dialled connection that the same thread had let go of, with nothing else
    /// dialled, asked or answered in between, when this one began (a retry) or this answer left;
    /// 0 none.
    pub before: u64,
    /// When the same thread had begun an answer, with nothing else dialled, asked, answered or let go of
    /// in between, as it let go of this dialled connection; 0 none. Nanoseconds.
    pub answered_at: u64,
    /// When the socket was made (dialled) or established (accepted); 0 unknown. Nanoseconds.
    pub opened_at: u64,
    /// When the other end's RST arrived, 0 never. Nanoseconds.
    pub reset_at: u64,
    /// This end's initial sequence number (RFC 9293, 3.4.1), 0 unknown. Both ends know both, and
    /// no translation of addresses changes them: they join the ends of one connection.
    pub isn: u32,
    /// The other end's initial sequence number, 0 unknown.
    pub peer_isn: u32,
    /// Segments that were sent again (`tcp_sock.total_retrans`).
    pub retransmits: u32,
    /// Bytes that were sent and not acknowledged at the end; a SYN counts as one. Of an accepted end, what waits to
    /// be sent counts too.
    pub unacked: u32,
    /// Bytes received and never read by the holder, at the end.
    pub unread: u32,
    /// The socket's error (`sk_err`), an errno.
    pub error: u16,
    /// The socket's soft error (`sk_err_soft`), an errno.
    pub soft_error: u16,
    /// The status code said ([`ANSWERED`](crate::kind::ANSWERED)) or heard ([`HEARD`](crate::kind::HEARD)).
    pub status: u16,
    /// Bits of [`flag`](crate::flag).
    pub flags: u16,
    /// One of [`role`](crate::role).
    pub role: u8,
    /// One of [`how`](crate::how).
    pub how: u8,
    /// The TCP state before the end (`net/tcp_states.h`).
    pub state: u8,
    /// Where an error of the network came from (`sock_extended_err.ee_origin`): 2 ICMP, 3 ICMPv6,
    /// 0 none came.
    pub icmp_origin: u8,
    /// Its ICMP type.
    pub icmp_type: u8,
    /// Its ICMP code.
    pub icmp_code: u8,
    /// Living threads of the acting task's process, 255 at most; 0 where no task acts.
    pub threads: u8,
    /// Bits of [`mark`](crate::mark).
    pub marks: u8,
    /// Bytes used in `said_head`.
    pub said_head_length: u16,
    /// Bytes used in `heard_head`.
    pub heard_head_length: u16,
}

/// What the two ends said to each other. A *message* is what one end says until the other end speaks.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Talk {
    /// When the connection was established, 0 never or unknown. Nanoseconds.
    pub established_at: u64,
    /// When the other end's FIN arrived, 0 never. Nanoseconds.
    pub fin_at: u64,
    /// When the last message said began to leave, 0 never. Nanoseconds.
    pub said_at: u64,
    /// When the last message heard began to arrive, 0 never. Nanoseconds.
    pub heard_at: u64,
    /// When the message heard before the last message said began: with `said_at`, the idle time.
    pub heard_before_at: u64,
    /// Bytes of the last message said, up to now.
    pub said_bytes: u64,
    /// Bytes of the last message heard, up to now; 0 while a said message is unanswered.
    pub heard_bytes: u64,
    /// The `Content-Length` that an answer's header announced, where it was looked for
    /// ([`framing::LENGTH`](crate::framing::LENGTH)).
    pub announced: u64,
    /// Messages said so far.
    pub said: u32,
    /// Messages heard so far.
    pub heard: u32,
    /// Bytes of the heard message that were looked at for the end of its header; where it was found,
    /// how far into the message, and at most 1032 too many.
    pub scanned: u32,
    /// Milliseconds since the holder last sent anything.
    pub quiet_ms: u32,
    /// Milliseconds since bytes of the other end last arrived; 0 where none ever did.
    pub unheard_ms: u32,
    /// The longest silence on this connection, milliseconds, after which it was still of use: between
    /// an answer's end and the next request.
    pub longest_idle_ms: u32,
    /// Bytes of that header; 0 where its end was not looked for, or not found.
    pub header_bytes: u32,
    /// Bits of [`framing`](crate::framing): of the answer that its server says, or that its client hears.
    pub framing: u32,
}

/// All that is known of one socket: the record of a failed answer and of a connection's end. What does
/// not come of it is zero: a record may be a [`Socket`] or a [`Brief`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Flow {
    /// Who, where and how it ended.
    pub socket: Socket,
    /// What was said and heard.
    pub talk: Talk,
    /// The first bytes of the last message said.
    pub said_head: [u8; HEAD],
    /// The first bytes of the last message heard.
    pub heard_head: [u8; HEAD],
}

/// A [`Flow`] that heard little.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Brief {
    /// As in [`Flow`].
    pub socket: Socket,
    /// As in [`Flow`].
    pub talk: Talk,
    /// As in [`Flow`].
    pub said_head: [u8; HEAD],
    /// The beginning of what [`Flow`] has.
    pub heard_head: [u8; BRIEF],
}
