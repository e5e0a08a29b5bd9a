//! Where this kernel keeps what the programs read: offsets that the agent takes from BTF.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An offset of a member that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Byte offsets and switches, handed over once as a read-only global before the programs load.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "each name is the kernel's own: struct_member")]
pub struct Layout {
    pub sock_family: u32,
    pub sock_dport: u32,
    pub sock_num: u32,
    pub sock_daddr: u32,
    pub sock_rcv_saddr: u32,
    pub sock_v6_daddr: u32,
    pub sock_v6_rcv_saddr: u32,
    pub sock_net: u32,
    pub sock_state: u32,
    pub sock_ipv6only: u32,
    pub sock_err: u32,
    pub sock_err_soft: u32,
    pub sock_shutdown: u32,
    pub sock_error_queue: u32,
    pub queue_next: u32,
    pub queue_prev: u32,
    pub skb_cb: u32,
    pub exterr_errno: u32,
    pub sock_socket: u32,
    pub sock_flags: u32,
    pub sock_lingertime: u32,
    pub sock_ack_backlog: u32,
    pub sock_max_ack_backlog: u32,
    pub sock_protocol: u32,
    pub net_inum: u32,
    pub tcp_bytes_received: u32,
    pub tcp_copied_seq: u32,
    pub tcp_rcv_nxt: u32,
    pub tcp_write_seq: u32,
    pub tcp_snd_una: u32,
    pub tcp_snd_nxt: u32,
    pub tcp_bytes_acked: u32,
    pub tcp_total_retrans: u32,
    pub msg_iter: u32,
    pub iter_type: u32,
    pub iter_offset: u32,
    pub iter_iov: u32,
    pub iter_count: u32,
    pub iter_segments: u32,
    pub skb_head: u32,
    pub skb_network_header: u32,
    pub skb_dev: u32,
    pub skb_dst: u32,
    pub skb_iif: u32,
    pub dev_net: u32,
    pub flowi4_daddr: u32,
    pub flowi6_daddr: u32,
    pub fib6_type: u32,
    pub fib6_entry: u32,
    pub fib6_protocol: u32,
    pub dst_dev: u32,
    pub task_flags: u32,
    pub task_exit_code: u32,
    pub task_pid: u32,
    pub task_tgid: u32,
    pub task_real_parent: u32,
    pub task_comm: u32,
    pub task_cred: u32,
    pub task_signal: u32,
    pub task_group_leader: u32,
    pub task_start_time: u32,
    pub task_in_execve: u32,
    pub signal_live: u32,
    pub cred_uid: u32,
    pub siginfo_code: u32,
    /// The bit of `skc_ipv6only` in the byte at `sock_ipv6only`.
    pub ipv6only_bit: u32,
    /// The bit of `in_execve` in the byte at `task_in_execve`.
    pub in_execve_bit: u32,
    /// `SOCK_LINGER`'s bit number in `sk_flags`.
    pub linger_bit: u32,
    /// `ITER_IOVEC` and `ITER_UBUF` of `enum iter_type`; [`ABSENT`] where there is none.
    pub iter_iovec: u32,
    pub iter_ubuf: u32,
    /// 1 where `tcp_send_reset` has its third argument.
    pub reset_has_reason: u32,
    /// 1 where `mark_victim` passes a task, 0 where it passes a pid.
    pub victim_is_task: u32,
    /// 1 where answers that break after their header are to be told of.
    pub silent: u32,
    pub sock_type: u32,
    pub sock_receive_queue: u32,
    pub skb_sk: u32,
    pub skb_len: u32,
    pub skb_data: u32,
    pub skb_data_len: u32,
    pub unix_addr: u32,
    pub unix_peer: u32,
    pub address_len: u32,
    pub address_name: u32,
    /// Where a system call's number and its second and third arguments are in `struct pt_regs`.
    pub regs_number: u32,
    pub regs_second: u32,
    pub regs_third: u32,
    /// The numbers of system calls on this processor.
    pub call_socket: u32,
    pub call_connect: u32,
    pub call_accept: u32,
    pub call_accept4: u32,
    pub sock_peer_pid: u32,
    /// Its number in the initial process namespace.
    pub pid_number: u32,
    /// The `skb_drop_reason`s to report: bit n of word n/64 is reason n.
    pub drop_reasons: [u64; 2],
    /// The statuses to report: bit n of word n/64 is status 400 + n.
    pub statuses: [u64; 4],
}
