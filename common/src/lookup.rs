//! What a process heard from its name servers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Header;

/// Bytes kept of the name that a name server was asked for; host names are mostly shorter.
pub const NAME: usize = 64;

/// What a process heard from its name servers, told as its failed answer leaves.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Lookup {
    /// Kind [`kind::LOOKUP`](crate::kind::LOOKUP).
    pub header: Header,
    /// When it last connected a socket to port 53, 0 never. Nanoseconds.
    pub asked_at: u64,
    /// When a name server last answered anything, 0 never. Nanoseconds.
    pub heard_at: u64,
    /// When one last answered with records, 0 never. Nanoseconds.
    pub good_at: u64,
    /// When one last answered with an error, 0 never. Nanoseconds.
    pub failed_at: u64,
    /// The process.
    pub pid: u32,
    /// That error's code (RFC 1035, 4.1.1): 2 server failure, 3 no such name.
    pub code: u16,
    /// Bytes used in `name`.
    pub name_length: u16,
    /// The name that failed, as the message has it (RFC 1035, 3.1): lengths and labels.
    pub name: [u8; NAME],
}
