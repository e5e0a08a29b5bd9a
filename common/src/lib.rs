//! What crosses the boundary: the records that kernel programs write and the agent reads.
//!
//! Integers and byte arrays only, padding spelled out, so that every bit pattern is a valid record
//! and `zerocopy` proves it. Judging the numbers is `decode`'s work, not this crate's.
#![no_std]
#![forbid(unsafe_code)]

pub mod flag;
mod flow;
pub mod framing;
mod layout;
mod lookup;
pub mod mark;
mod records;
mod unix;

pub use flow::{BRIEF, Brief, Flow, Socket, Talk};
pub use layout::{ABSENT, Layout};
pub use lookup::{Lookup, NAME};
pub use records::{
    Death, Drop, HEAD, Header, LOGGED, Listener, LogLine, Overflow, Reset, Signal, Task, Tuple,
    Victim, how, kind, role,
};
pub use unix::{Call, PATH, UnixDial, UnixDialler, UnixFlow, UnixListener, call};
