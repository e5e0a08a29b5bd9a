//! What is read outside of the kernel programs: /proc, the sockets that were there, the kernel log.

mod cgroup;
pub mod kmsg;
pub mod proc;
pub mod sockets;
