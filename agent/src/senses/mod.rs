//! What is read outside of the kernel programs: /proc, the sockets that were there, the kernel log.

mod cgroup;
mod diag;
pub mod kmsg;
pub mod proc;
pub mod sockets;
