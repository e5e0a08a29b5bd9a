//! What is read outside of the kernel programs: /proc, the sockets that were there, the kernel log.

mod calls;
mod cgroup;
mod diag;
mod doing;
pub mod kmsg;
mod limits;
pub mod looks;
mod paths;
pub mod proc;
pub mod sockets;

use proc::Arguments;

/// How processes are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    /// How their command lines are shown.
    pub arguments: Arguments,
    /// Pods by their names, from the API server.
    pub kubernetes: bool,
}
