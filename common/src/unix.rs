//! The records of UNIX connections and of failed system calls.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Flow, Header, Task};

/// Bytes of the longest UNIX path (`sun_path`), rounded up.
pub const PATH: usize = 112;

/// A UNIX connection as its dialling end saw it, and what its other end did.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnixFlow {
    /// Kind [`kind::UNIX_ENDED`] or [`kind::UNIX_HEARD`]; the two ends are empty, and the cookie is
    /// a number of our own.
    pub flow: Flow,
    /// Who last accepted, read or wrote at the other end. Empty: nobody did.
    pub server: Task,
    /// When `accept(2)` returned the other end, 0 never or not seen. Nanoseconds.
    pub accepted_at: u64,
    /// When the other end last accepted, read or wrote, 0 never. Nanoseconds.
    pub served_at: u64,
    /// Bytes written to the other end and not read by it.
    pub unread: u32,
    /// Connections that waited in the listener's queue when this one was dialled.
    pub queued: u32,
    /// The listener's limit.
    pub limit: u32,
    /// Bytes used in `path`.
    pub path_length: u32,
    /// The listener's path; one that begins with NUL is abstract (unix(7)).
    pub path: [u8; PATH],
}

/// A task's `connect(2)` to a UNIX socket failed.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnixDial {
    /// Kind [`kind::UNIX_DIAL`].
    pub header: Header,
    /// A number of our own.
    pub cookie: u64,
    /// Who dialled.
    pub task: Task,
    /// As `Flow::before`.
    pub before: u64,
    /// Bytes used in `path`.
    pub path_length: u32,
    /// Zero.
    pub padding: u32,
    /// The path as the dialler wrote it.
    pub path: [u8; PATH],
}

/// A process dials UNIX sockets, while nobody watches them.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnixDialler {
    /// Kind [`kind::UNIX_DIALLER`].
    pub header: Header,
    /// The process.
    pub pid: u32,
    /// Zero.
    pub padding: [u8; 4],
}

/// A UNIX listener that a watched dial met for the first time.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnixListener {
    /// Kind [`kind::UNIX_LISTENER`].
    pub header: Header,
    /// The process that called `listen(2)` on it.
    pub pid: u32,
    /// Bytes used in `path`.
    pub path_length: u32,
    /// Its path, as it was bound.
    pub path: [u8; PATH],
}

/// Which system call it was (`Call::which`).
pub mod call {
    /// `socket(2)`.
    pub const SOCKET: u32 = 1;
    /// `connect(2)`.
    pub const CONNECT: u32 = 2;
    /// `accept(2)` or `accept4(2)`.
    pub const ACCEPT: u32 = 3;
}

/// A task's system call on sockets failed.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Call {
    /// Kind [`kind::CALL`].
    pub header: Header,
    /// Who called.
    pub task: Task,
    /// One of [`call`].
    pub which: u32,
    /// Its errno.
    pub errno: u32,
    /// Bytes used in `address`.
    pub address_length: u32,
    /// Zero.
    pub padding: u32,
    /// Of `connect(2)`: the `struct sockaddr` that it was given.
    pub address: [u8; PATH],
}
