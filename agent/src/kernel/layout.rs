//! The offsets that the kernel programs need, found in this kernel's own types.

use probe502_common::{ABSENT, Layout};
use zerocopy::FromZeros as _;

use super::Options;
use super::btf::KernelTypes;

/// Why packets are dropped on purpose, or because a neighbour is silent (`net/dropreason-core.h`).
const DROPS: [&str; 6] = [
    "NETFILTER_DROP",
    "NEIGH_FAILED",
    "IP_RPFILTER",
    "BPF_CGROUP_EGRESS",
    "TC_EGRESS",
    "TC_INGRESS",
];

/// Fills the read-only global of the kernel programs. A member that this kernel lacks is [`ABSENT`]:
/// the programs then leave out what they would have read.
pub fn of(types: &KernelTypes, options: &Options) -> Layout {
    let mut layout = Layout::new_zeroed();
    sockets(types, &mut layout);
    messages(types, &mut layout);
    packets(types, &mut layout);
    routes(types, &mut layout);
    tasks(types, &mut layout);
    unix(types, &mut layout);
    calls(types, &mut layout);
    layout.statuses = bits(&options.statuses);
    layout.silent = u32::from(options.silent);
    layout
}

fn sockets(types: &KernelTypes, layout: &mut Layout) {
    let sock = |member: &str| offset(types, "sock", member);
    let common = |member: &str| offset(types, "sock_common", member);
    let tcp = |member: &str| offset(types, "tcp_sock", member);
    layout.sock_family = common("skc_family");
    layout.sock_dport = common("skc_dport");
    layout.sock_num = common("skc_num");
    layout.sock_daddr = common("skc_daddr");
    layout.sock_rcv_saddr = common("skc_rcv_saddr");
    layout.sock_v6_daddr = common("skc_v6_daddr");
    layout.sock_v6_rcv_saddr = common("skc_v6_rcv_saddr");
    layout.sock_net = common("skc_net");
    layout.sock_state = common("skc_state");
    let ipv6only = types.offset("sock_common", "skc_ipv6only");
    (layout.sock_ipv6only, layout.ipv6only_bit) = ipv6only.unwrap_or((ABSENT, 0));
    layout.sock_err = sock("sk_err");
    layout.sock_err_soft = sock("sk_err_soft");
    layout.sock_shutdown = sock("sk_shutdown");
    layout.sock_error_queue = sock("sk_error_queue");
    layout.queue_next = offset(types, "sk_buff_head", "next");
    layout.queue_prev = offset(types, "sk_buff_head", "prev");
    layout.exterr_errno = offset(types, "sock_exterr_skb", "ee.ee_errno");
    layout.sock_socket = sock("sk_socket");
    layout.sock_flags = common("skc_flags");
    layout.sock_lingertime = sock("sk_lingertime");
    layout.sock_ack_backlog = sock("sk_ack_backlog");
    layout.sock_max_ack_backlog = sock("sk_max_ack_backlog");
    layout.sock_protocol = sock("sk_protocol");
    layout.net_inum = offset(types, "net", "ns.inum");
    layout.tcp_bytes_received = tcp("bytes_received");
    layout.tcp_copied_seq = tcp("copied_seq");
    layout.tcp_rcv_nxt = tcp("rcv_nxt");
    layout.tcp_write_seq = tcp("write_seq");
    layout.tcp_snd_una = tcp("snd_una");
    layout.tcp_snd_nxt = tcp("snd_nxt");
    layout.tcp_bytes_acked = tcp("bytes_acked");
    layout.tcp_total_retrans = tcp("total_retrans");
    layout.linger_bit = types.value("sock_flags", "SOCK_LINGER").unwrap_or(ABSENT);
}

fn messages(types: &KernelTypes, layout: &mut Layout) {
    let iterator = |names: &[&str]| first(types, "iov_iter", names);
    layout.msg_iter = offset(types, "msghdr", "msg_iter");
    layout.iter_type = iterator(&["iter_type", "type"]);
    layout.iter_offset = iterator(&["iov_offset"]);
    layout.iter_iov = iterator(&["__iov", "iov"]);
    layout.iter_count = iterator(&["count"]);
    layout.iter_segments = iterator(&["nr_segs"]);
    layout.iter_iovec = types.value("iter_type", "ITER_IOVEC").unwrap_or(ABSENT);
    layout.iter_ubuf = types.value("iter_type", "ITER_UBUF").unwrap_or(ABSENT);
}

fn packets(types: &KernelTypes, layout: &mut Layout) {
    let packet = |member: &str| offset(types, "sk_buff", member);
    layout.skb_head = packet("head");
    layout.skb_network_header = packet("network_header");
    layout.skb_cb = packet("cb");
    layout.skb_dev = packet("dev");
    layout.skb_dst = packet("_skb_refdst");
    layout.skb_iif = packet("skb_iif");
    layout.dev_net = offset(types, "net_device", "nd_net");
    layout.dst_dev = first(types, "dst_entry", &["dev", "dev_rcu"]);
    for name in DROPS {
        let reason = types.value("skb_drop_reason", &format!("SKB_DROP_REASON_{name}"));
        let reason = reason.unwrap_or(ABSENT);
        if let Some(word) = layout.drop_reasons.get_mut(reason as usize / 64) {
            *word |= 1 << (reason % 64);
        }
    }
    let arguments = types
        .arguments("tcp_send_reset")
        .map_or(0, |arguments| arguments.len());
    layout.reset_has_reason = u32::from(arguments >= 3);
}

fn routes(types: &KernelTypes, layout: &mut Layout) {
    layout.flowi4_daddr = offset(types, "flowi4", "daddr");
    layout.flowi6_daddr = offset(types, "flowi6", "daddr");
    layout.fib6_type = offset(types, "fib6_result", "fib6_type");
    layout.fib6_entry = offset(types, "fib6_result", "f6i");
    layout.fib6_protocol = offset(types, "fib6_info", "fib6_protocol");
}

fn tasks(types: &KernelTypes, layout: &mut Layout) {
    let task = |member: &str| offset(types, "task_struct", member);
    layout.task_flags = task("flags");
    layout.task_exit_code = task("exit_code");
    layout.task_pid = task("pid");
    layout.task_tgid = task("tgid");
    layout.task_real_parent = task("real_parent");
    layout.task_comm = task("comm");
    layout.task_cred = task("cred");
    layout.task_signal = task("signal");
    layout.task_group_leader = task("group_leader");
    layout.task_start_time = task("start_time");
    let in_execve = types.offset("task_struct", "in_execve");
    (layout.task_in_execve, layout.in_execve_bit) = in_execve.unwrap_or((ABSENT, 0));
    layout.signal_live = offset(types, "signal_struct", "live");
    layout.cred_uid = offset(types, "cred", "uid");
    layout.siginfo_code = offset(types, "kernel_siginfo", "si_code");
    let victim = types
        .arguments("mark_victim")
        .and_then(|arguments| arguments.first().copied());
    layout.victim_is_task = u32::from(victim.is_some_and(|id| types.is_pointer(id)));
}

fn unix(types: &KernelTypes, layout: &mut Layout) {
    let packet = |member: &str| offset(types, "sk_buff", member);
    layout.sock_type = offset(types, "sock", "sk_type");
    layout.sock_receive_queue = offset(types, "sock", "sk_receive_queue");
    layout.sock_peer_pid = offset(types, "sock", "sk_peer_pid");
    layout.pid_number = offset(types, "pid", "numbers");
    layout.skb_sk = packet("sk");
    layout.skb_len = packet("len");
    layout.skb_data = packet("data");
    layout.skb_data_len = packet("data_len");
    layout.unix_addr = offset(types, "unix_sock", "addr");
    layout.unix_peer = offset(types, "unix_sock", "peer");
    layout.address_len = offset(types, "unix_address", "len");
    layout.address_name = offset(types, "unix_address", "name");
}

/// Where a stopped task's registers keep a system call differs by processor, and so do its numbers
/// (`arch/x86/entry/syscalls/syscall_64.tbl`, `include/uapi/asm-generic/unistd.h`).
fn calls(types: &KernelTypes, layout: &mut Layout) {
    let register = |names: &[&str]| first(types, "pt_regs", names);
    layout.regs_number = register(&["orig_ax", "syscallno"]);
    if cfg!(target_arch = "x86_64") {
        layout.regs_second = register(&["si"]);
        layout.regs_third = register(&["dx"]);
        (layout.call_socket, layout.call_connect) = (41, 42);
        (layout.call_accept, layout.call_accept4) = (43, 288);
    } else {
        let registers = offset(types, "user_pt_regs", "regs");
        let nth = |n: u32| {
            if registers == ABSENT {
                ABSENT
            } else {
                registers + 8 * n
            }
        };
        (layout.regs_second, layout.regs_third) = (nth(1), nth(2));
        (layout.call_socket, layout.call_connect) = (198, 203);
        (layout.call_accept, layout.call_accept4) = (202, 242);
    }
}

fn offset(types: &KernelTypes, structure: &str, member: &str) -> u32 {
    types
        .offset(structure, member)
        .map_or(ABSENT, |(byte, _)| byte)
}

/// The first name that this kernel uses for a member that was renamed.
fn first(types: &KernelTypes, structure: &str, names: &[&str]) -> u32 {
    let known = |name: &&str| types.offset(structure, name);
    names
        .iter()
        .find_map(known)
        .map_or(ABSENT, |(byte, _)| byte)
}

/// Bit n of word n/64 is status 400 + n.
fn bits(statuses: &[u16]) -> [u64; 4] {
    let mut words = [0; 4];
    for status in statuses {
        let bit = usize::from(status.wrapping_sub(400));
        if let Some(word) = words.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes as _;

    use super::*;

    #[test]
    fn statuses_become_bits() {
        assert_eq!(bits(&[400, 463]), [1 | 1 << 63, 0, 0, 0]);
        assert_eq!(bits(&[502]), [0, 1 << 38, 0, 0]);
        assert_eq!(bits(&[200, 999]), [0; 4]);
    }

    /// A member that is looked for under a wrong name would be absent everywhere, in silence.
    #[test]
    fn a_current_kernel_has_every_member() {
        let Ok(types) = KernelTypes::read() else {
            eprintln!("skipped: this kernel has no BTF");
            return;
        };
        if types.arguments("tcp_sendmsg_locked").is_none() {
            eprintln!("skipped: members may be absent before Linux 6.16");
            return;
        }
        let layout = of(&types, &Options::default());
        let members = size_of::<Layout>() / 4 - 12;
        let words = layout.as_bytes().chunks(4).take(members);
        let absent: Vec<usize> = words
            .enumerate()
            .filter(|(_, word)| *word == ABSENT.to_ne_bytes())
            .map(|(index, _)| index)
            .collect();
        assert!(
            absent.is_empty(),
            "absent: the members numbered {absent:?} of Layout"
        );
    }
}
