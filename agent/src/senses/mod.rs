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
