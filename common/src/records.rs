//! The records of the ring buffer, one struct for each kind of fact.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes kept of the start of each message: a request line and a `Host` header, or a status line
/// and the first header lines, of nearly every request and answer. A judgement of probe502's own.
pub const HEAD: usize = 256;

/// Numbers that say which record follows a [`Header`].
pub mod kind {
    /// A [`Flow`](crate::Flow): a watched status line left on an accepted connection.
    pub const ANSWERED: u16 = 1;
    /// A [`Flow`](crate::Flow): a task let go of a connection, or the kernel ended it.
    pub const ENDED: u16 = 2;
    /// A [`Flow`](crate::Flow): a dialled connection heard a watched status line, or a retry any.
    pub const HEARD: u16 = 3;
    /// A [`Reset`](crate::Reset).
    pub const RESET: u16 = 4;
    /// A [`Listener`](crate::Listener) that begins to listen.
    pub const LISTENS: u16 = 5;
    /// A [`Listener`](crate::Listener) that ends.
    pub const LISTENED: u16 = 6;
    /// A [`Death`](crate::Death).
    pub const DEATH: u16 = 7;
    /// A [`Signal`](crate::Signal).
    pub const SIGNAL: u16 = 8;
    /// A [`Victim`](crate::Victim).
    pub const VICTIM: u16 = 9;
    /// A [`Drop`](crate::Drop).
    pub const DROP: u16 = 10;
    /// An [`Overflow`](crate::Overflow).
    pub const OVERFLOW: u16 = 11;
    /// A [`LogLine`](crate::LogLine).
    pub const LOG_LINE: u16 = 12;
    /// A [`UnixFlow`](crate::UnixFlow) that ended, or that its dialling end could not use.
    pub const UNIX_ENDED: u16 = 24;
    /// A [`UnixFlow`](crate::UnixFlow): a watched status line arrived on a dialled connection.
    pub const UNIX_HEARD: u16 = 25;
    /// A [`UnixDial`](crate::UnixDial) that failed.
    pub const UNIX_DIAL: u16 = 26;
    /// A [`Call`](crate::Call) that failed.
    pub const CALL: u16 = 27;
    /// A [`UnixDialler`](crate::UnixDialler).
    pub const UNIX_DIALLER: u16 = 28;
    /// A [`UnixListener`](crate::UnixListener).
    pub const UNIX_LISTENER: u16 = 29;
    /// A [`Lookup`](crate::Lookup).
    pub const LOOKUP: u16 = 14;
    /// No record: bytes were read on a UNIX connection that no hook met.
    pub const UNMET: u16 = 30;
    /// No record: the kernel had no memory to keep anything beside a socket.
    pub const FORGOTTEN: u16 = 31;
    /// Above all of them: where the counts of lost records begin.
    pub const LOST: u16 = 32;
}

/// Which end of a connection a socket is.
pub mod role {
    /// Opened before the agent: not known.
    pub const UNKNOWN: u8 = 0;
    /// `connect(2)` made it: a gateway's upstream socket, or a client's.
    pub const DIALLED: u8 = 1;
    /// A listener's child: a gateway's client socket, or an upstream's.
    pub const ACCEPTED: u8 = 2;
}

/// How a socket's holder and the kernel let it end (`Flow::how`).
pub mod how {
    /// Not ended: the record is about a message on a living connection.
    pub const OPEN: u8 = 0;
    /// `close(2)` or `shutdown(2)` sent a FIN (RFC 9293, 3.6).
    pub const FIN: u8 = 1;
    /// `close(2)` with bytes unread sent a RST (RFC 2525, 2.17).
    pub const UNREAD: u8 = 2;
    /// `close(2)` with `SO_LINGER` 0 sent a RST.
    pub const LINGER: u8 = 3;
    /// The listener ended while this connection waited in its accept queue.
    pub const QUEUED: u8 = 4;
    /// The kernel had ended it before (reset, refusal, timeout); now its holder lets go.
    pub const RELEASED: u8 = 5;
}

/// What every record begins with.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Header {
    /// One of [`kind`].
    pub kind: u16,
    /// Bytes of the whole record, this header included.
    pub size: u16,
    /// The network namespace's inode number, 0 where the fact has none.
    pub netns: u32,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub at: u64,
}

/// The task that did something, as the kernel had it at that moment.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Task {
    /// The process (the kernel's tgid); 0 where no task is known.
    pub pid: u32,
    /// The thread (the kernel's pid).
    pub tid: u32,
    /// The parent process (`real_parent->tgid`).
    pub parent: u32,
    /// The process's user id in the initial user namespace.
    pub uid: u32,
    /// The thread's name, NUL padded (`TASK_COMM_LEN`).
    pub comm: [u8; 16],
}

/// A connection's two ends as one socket sees them, in network byte order.
/// IPv4 addresses are IPv4-mapped (RFC 4291, 2.5.5.2).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Tuple {
    /// This socket's address.
    pub local: [u8; 16],
    /// The other end's address.
    pub remote: [u8; 16],
    /// This socket's port.
    pub local_port: [u8; 2],
    /// The other end's port.
    pub remote_port: [u8; 2],
    /// Zero.
    pub padding: [u8; 4],
}

/// All that is known of one socket: the record of a failed answer and of a connection's end.
/// A *message* is what one end says until the other end speaks.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Flow {
    /// Kind [`kind::ANSWERED`], [`kind::ENDED`] or [`kind::HEARD`].
    pub header: Header,
    /// The socket's cookie (`SO_COOKIE`), unique while the host runs.
    pub cookie: u64,
    /// The acting task: who sends, closes or lets go. Empty (pid 0) for [`kind::HEARD`].
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
    /// When the connection was established, 0 never or unknown. Nanoseconds.
    pub established_at: u64,
    /// When the other end's FIN arrived, 0 never. Nanoseconds.
    pub fin_at: u64,
    /// When the other end's RST arrived, 0 never. Nanoseconds.
    pub reset_at: u64,
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
    /// Bytes received and never read by the holder, at the end.
    pub unread: u32,
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
    /// This end's initial sequence number (RFC 9293, 3.4.1), 0 unknown. Both ends know both, and
    /// no translation of addresses changes them: they join the ends of one connection.
    pub isn: u32,
    /// The other end's initial sequence number, 0 unknown.
    pub peer_isn: u32,
    /// Segments that were sent again (`tcp_sock.total_retrans`).
    pub retransmits: u32,
    /// Bytes that were sent and not acknowledged at the end; a SYN counts as one.
    pub unacked: u32,
    /// Bytes of that header; 0 where its end was not looked for, or not found.
    pub header_bytes: u32,
    /// Bits of [`framing`](crate::framing): of the answer that its server says, or that its client hears.
    pub framing: u32,
    /// The socket's error (`sk_err`), an errno.
    pub error: u16,
    /// The socket's soft error (`sk_err_soft`), an errno.
    pub soft_error: u16,
    /// The status code said ([`kind::ANSWERED`]) or heard ([`kind::HEARD`]).
    pub status: u16,
    /// Bits of [`flag`].
    pub flags: u16,
    /// One of [`role`].
    pub role: u8,
    /// One of [`how`].
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
    /// The first bytes of the last message said.
    pub said_head: [u8; HEAD],
    /// The first bytes of the last message heard.
    pub heard_head: [u8; HEAD],
}

/// This host sent a RST (`tcp_send_reset`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Reset {
    /// Kind [`kind::RESET`].
    pub header: Header,
    /// The socket that sent it, 0 where none did (nothing listens, or only a TIME_WAIT is left).
    pub cookie: u64,
    /// The sender's ends: `local` is where the RST came from.
    pub tuple: Tuple,
    /// The kernel's `sk_rst_reason`, by this kernel's numbers; `u32::MAX` where it has none.
    pub reason: u32,
    /// The sequence number of the packet that it answers: of a SYN, the initial one. 0 where it
    /// answers none.
    pub sequence: u32,
    /// One of [`role`], of the sending socket.
    pub role: u8,
    /// Zero.
    pub padding: [u8; 7],
}

/// A listener came or went.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Listener {
    /// Kind [`kind::LISTENS`] or [`kind::LISTENED`].
    pub header: Header,
    /// The listening socket's cookie.
    pub cookie: u64,
    /// Who opened it, or closed it last.
    pub task: Task,
    /// `local` is its address; unspecified means every address.
    pub tuple: Tuple,
    /// Connections that waited in its accept queue.
    pub queued: u32,
    /// The accept queue's limit.
    pub limit: u32,
    /// Bits of [`flag`]: `DYING`.
    pub flags: u16,
    /// 1 where an IPv6 socket serves IPv6 only (`IPV6_V6ONLY`).
    pub v6_only: u8,
    /// Zero.
    pub padding: [u8; 5],
}

/// A process's main thread or last thread exited (`sched_process_exit`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Death {
    /// Kind [`kind::DEATH`].
    pub header: Header,
    /// The process.
    pub task: Task,
    /// `task->exit_code`: the low 7 bits the signal, bit 7 a core dump, then the status (wait(2)).
    pub code: u32,
    /// Zero.
    pub padding: [u8; 4],
    /// When one of its threads last began to answer on a connection that it had accepted, 0 never.
    /// Nanoseconds.
    pub answered_at: u64,
}

/// A signal that can end a process was sent (`signal_generate`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Signal {
    /// Kind [`kind::SIGNAL`].
    pub header: Header,
    /// The task that sent it.
    pub sender: Task,
    /// The process that it was sent to.
    pub target: Task,
    /// The signal's number.
    pub number: u32,
    /// `si_code`: 0 or below from a process, above from the kernel (sigaction(2)).
    pub code: i32,
}

/// The kernel's OOM killer chose a process (`mark_victim`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Victim {
    /// Kind [`kind::VICTIM`].
    pub header: Header,
    /// The process.
    pub pid: u32,
    /// Zero.
    pub padding: [u8; 4],
}

/// Bytes kept of what the kernel logs: a cgroup's path in Kubernetes takes some 190. A judgement of
/// probe502's own.
pub const LOGGED: usize = 256;

/// The kernel logged a line, or a piece of one, as it does of an OOM kill (`console`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LogLine {
    /// Kind [`kind::LOG_LINE`].
    pub header: Header,
    /// Bytes of `text` that hold.
    pub length: u32,
    /// Zero.
    pub padding: [u8; 4],
    /// What it logged; what is behind `length` means nothing.
    pub text: [u8; LOGGED],
}

/// The kernel dropped a packet: by a firewall's order, or because no neighbour answered (`kfree_skb`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Drop {
    /// Kind [`kind::DROP`].
    pub header: Header,
    /// `local` is the packet's source.
    pub tuple: Tuple,
    /// The kernel's `skb_drop_reason`, by this kernel's numbers.
    pub reason: u32,
    /// The packet's sequence number.
    pub sequence: u32,
    /// The packet's acknowledgement number.
    pub acknowledges: u32,
    /// The TCP header's flags byte (RFC 9293, 3.1): 2 is a SYN.
    pub tcp_flags: u8,
    /// 1 where the packet had come in by a device, 0 where this namespace sent it.
    pub arrived: u8,
    /// Zero.
    pub padding: [u8; 2],
}

/// A packet reached a listener whose accept queue was full: the kernel drops it, or answers with a
/// RST (`tcp_abort_on_overflow`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Overflow {
    /// Kind [`kind::OVERFLOW`].
    pub header: Header,
    /// The listening socket's cookie.
    pub cookie: u64,
    /// `local` is the address that was dialled, `remote` who dialled.
    pub tuple: Tuple,
    /// Connections that waited in its accept queue.
    pub queued: u32,
    /// The accept queue's limit.
    pub limit: u32,
    /// The packet's sequence number: of a SYN, the dialling end's initial one.
    pub sequence: u32,
    /// The packet's flags byte (RFC 9293, 3.1).
    pub tcp_flags: u8,
    /// Zero.
    pub padding: [u8; 3],
}
