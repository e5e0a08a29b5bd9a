//! Bits of `Flow::flags`.

/// The socket was open before the programs were attached: earlier counts and times are unknown.
pub const LATE: u16 = 1;
/// The holder's task was exiting (`PF_EXITING`) when it closed.
pub const DYING: u16 = 2;
/// `accept(2)` has returned it, or `connect(2)` made it: it has a file.
pub const HELD: u16 = 4;
/// A FIN from the other end had arrived.
pub const FIN_HEARD: u16 = 8;
/// A RST from the other end had arrived.
pub const RESET_HEARD: u16 = 16;
/// The end of the heard message's header was seen in the bytes that were looked at.
pub const HEADER_END_HEARD: u16 = 32;
/// All heard bytes of the message so far were looked at for the header's end.
pub const HEADER_SCANNED: u16 = 64;
/// It reached ESTABLISHED.
pub const ESTABLISHED: u16 = 128;
/// The answer began although nothing was heard since the one before it: a pipelined answer, or
/// a piece of a body that looks like one.
pub const CONTINUED: u16 = 256;
/// The status is none that is watched: told because a retry got it ([`kind::HEARD`]).
///
/// [`kind::HEARD`]: crate::kind::HEARD
pub const UNWATCHED: u16 = 512;
/// TLS application data left on it: a write that begins with such a record, and is longer than
/// an alert.
pub const ASKED: u16 = 1024;
/// Another connection to the same address was answered with a TLS handshake.
pub const SPEAKS_TLS: u16 = 2048;
/// Another connection to the same address was answered with HTTP/1 in clear.
pub const SPEAKS_HTTP: u16 = 4096;
/// The process that closed was born after the connection was established: it may have inherited
/// it from the process that serves it.
pub const INHERITED: u16 = 8192;
/// The task that closed was within `execve(2)`: what it let go of was a copy.
pub const EXECUTING: u16 = 16384;
