//! Bits of `Flow::marks`.

/// The thread let go of another failed one within a millisecond before, and did nothing else in
/// between: it goes through several at once, and its next answer may be any one's.
pub const SWEPT: u8 = 1;
/// Of an answer: no thread of its process made a TCP or UDP socket, or dialled, since the request
/// had come; and from 200 ms before it on no upstream ended a connection that the process had in wait.
pub const UNDIALLED: u8 = 2;
/// Of an answer: no thread of its process said anything on a connection that it had dialled, over
/// TCP or a watched UNIX socket, since the request had come.
pub const UNASKED: u8 = 4;
/// Of an answer: for a minute no upstream had told its process, or its master, of an error (a status
/// from 400 on), nor anything else than HTTP/1: a health check may end so.
pub const UNTROUBLED: u8 = 8;
/// Of an answer: for ten seconds and more no thread of its process had said anything on a connection
/// that it had dialled: no upstream of its passed a check that asks.
pub const LONG_UNASKED: u8 = 16;
