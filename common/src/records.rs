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
