//! Following the kernel's pointers: the only file that does.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_get_current_task, bpf_probe_read_kernel, generated};
use probe502_common::{PATH, Task, Tuple};

use crate::layout::{exists, layout};

const AF_INET6: u16 = 10;
const PF_EXITING: u32 = 4;
/// `IPPROTO_TCP`.
pub const TCP: u16 = 6;
/// `offsetof(struct sockaddr_un, sun_path)`.
const SUN_PATH: u64 = 2;

/// An address in kernel memory.
#[derive(Clone, Copy)]
pub struct Kernel(u64);

impl Kernel {
    pub fn at(pointer: *const c_void) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(pointer as u64))
    }

    /// The value at an offset of BTF's; `None` where this kernel has no such member.
    #[inline(always)]
    pub fn read<T: Copy>(self, offset: u32) -> Option<T> {
        if !exists(offset) {
            return None;
        }
        let from = (self.0 + u64::from(offset)) as *const T;
        // SAFETY: the helper checks the address and fails on one that is not mapped.
        unsafe { bpf_probe_read_kernel(from) }.ok()
    }

    /// The value at an offset of a pointer that the verifier knows by its type: a plain load, where
    /// [`Self::read`] is a call. `None` where this kernel has no such member.
    #[inline(always)]
    pub fn load<T: Copy>(self, offset: u32) -> Option<T> {
        if !exists(offset) {
            return None;
        }
        let from = (self.0 + u64::from(offset)) as *const T;
        // SAFETY: the verifier proves the pointer's type and makes a fault read zeros.
        Some(unsafe { core::ptr::read_volatile(from) })
    }

    /// Copies the value at an offset to its place; zeros where it cannot be read.
    #[inline(always)]
    pub fn copy<T>(self, offset: u32, to: &mut T) {
        let to: *mut T = to;
        let from = (self.0 + u64::from(offset)) as *const c_void;
        if exists(offset) {
            // SAFETY: the helper writes the size of a `T` of bytes, zeros where the address is not
            // mapped; each `T` here is an integer or an array of bytes.
            unsafe { generated::bpf_probe_read_kernel(to.cast(), size_of::<T>() as u32, from) };
        }
    }

    /// The address that is stored at an offset; `None` where it is null.
    #[inline(always)]
    pub fn follow(self, offset: u32) -> Option<Self> {
        let next: u64 = self.read(offset)?;
        (next != 0).then_some(Self(next))
    }

    #[inline(always)]
    pub fn plus(self, offset: u64) -> Self {
        Self(self.0 + offset)
    }

    /// The address in kernel memory of a UNIX socket's other end, 0 where it has none.
    #[inline(always)]
    pub fn unix_peer(self) -> u64 {
        self.read(layout!(unix_peer)).unwrap_or(0)
    }

    #[inline(always)]
    pub fn number(self) -> u64 {
        self.0
    }

    /// Copies bytes to where the caller has made sure of the room.
    #[inline(always)]
    pub fn append(self, size: u32, place: *mut u8) -> bool {
        // SAFETY: the caller's `place` has room for `size`, as the verifier checks.
        let failed = unsafe {
            generated::bpf_probe_read_kernel(place.cast(), size, self.0 as *const c_void)
        };
        failed == 0
    }

    /// Copies at most `N` bytes; returns how many.
    #[inline(always)]
    pub fn write_bytes<const N: usize>(self, length: u32, to: &mut [u8; N]) -> Option<u32> {
        let size = bounded(length, N as u32)?;
        // SAFETY: at most N bytes go into an array of N; the helper checks the source.
        let failed = unsafe {
            generated::bpf_probe_read_kernel(to.as_mut_ptr().cast(), size, self.0 as *const c_void)
        };
        (failed == 0).then_some(size)
    }
}

/// At least 1 and at most `most`, in a way that the verifier sees: the compiler, which knows more,
/// would leave the checks out. The least comes of an addition, for Linux 6.1's verifier learns
/// nothing from a comparison with zero.
#[inline(always)]
pub fn bounded(length: u32, most: u32) -> Option<u32> {
    let before = length.checked_sub(1)?;
    // SAFETY: a read of a local variable.
    let before = unsafe { core::ptr::read_volatile(&raw const before) };
    Some(if before >= most { most } else { before + 1 })
}

/// A `struct sock` that a hook was given: the verifier knows its type.
#[derive(Clone, Copy)]
pub struct Sock(pub Kernel);

/// The start of a `struct sock_extended_err` (`linux/errqueue.h`).
#[derive(Clone, Copy)]
#[repr(C)]
pub struct NetworkError {
    pub errno: u32,
    pub origin: u8,
    pub kind: u8,
    pub code: u8,
    padding: u8,
}

/// The `struct tcp_sock` that a socket is.
#[derive(Clone, Copy)]
pub struct TcpSock(Kernel);

impl Sock {
    pub fn at(pointer: *const c_void) -> Option<Self> {
        Kernel::at(pointer).map(Self)
    }

    /// Its TCP state (`net/tcp_states.h`).
    #[inline(always)]
    pub fn state(self) -> u8 {
        self.0.load(layout!(sock_state)).unwrap_or(0)
    }

    /// The same socket as TCP's; `None` where it is another protocol's, or not a full one.
    #[inline(always)]
    pub fn tcp(self) -> Option<TcpSock> {
        // SAFETY: the verifier knows the pointer's type; the helper answers null for other sockets.
        let tcp = unsafe { generated::bpf_skc_to_tcp_sock(self.0.0 as *mut c_void) };
        Kernel::at(tcp.cast()).map(TcpSock)
    }

    #[inline(always)]
    pub fn protocol(self) -> u16 {
        self.0.load(layout!(sock_protocol)).unwrap_or(0)
    }

    #[inline(always)]
    pub fn family(self) -> u16 {
        self.0.load(layout!(sock_family)).unwrap_or(0)
    }

    /// The other end has closed (`RCV_SHUTDOWN`).
    #[inline(always)]
    pub fn is_shut(self) -> bool {
        self.0.load::<u8>(layout!(sock_shutdown)).unwrap_or(0) & 1 == 1
    }

    /// What was put last into its receive queue.
    #[inline(always)]
    pub fn last_received(self) -> Option<Kernel> {
        let queue = self.0.plus(u64::from(layout!(sock_receive_queue)));
        let last = queue.follow(layout!(queue_prev))?;
        (last.0 != queue.0).then_some(last)
    }

    /// Copies a UNIX socket's own path; returns how many bytes.
    #[inline(always)]
    pub fn write_unix_path(self, to: &mut [u8; PATH]) -> Option<u32> {
        let address = self.0.follow(layout!(unix_addr))?;
        let length: u32 = address.read(layout!(address_len))?;
        let name = address.plus(u64::from(layout!(address_name)));
        name.plus(SUN_PATH)
            .write_bytes(length.saturating_sub(2), to)
    }

    #[inline(always)]
    pub fn netns(self) -> u32 {
        self.0.follow(layout!(sock_net)).map_or(0, net_inum)
    }

    /// Both ends. Written in place: a hook's stack is 512 bytes.
    #[inline(always)]
    pub fn write_tuple(self, to: &mut Tuple) {
        let port: u16 = self.0.load(layout!(sock_num)).unwrap_or(0);
        to.local_port = port.to_be_bytes();
        self.0.copy(layout!(sock_dport), &mut to.remote_port);
        if self.0.load(layout!(sock_family)) == Some(AF_INET6) {
            self.0.copy(layout!(sock_v6_rcv_saddr), &mut to.local);
            self.0.copy(layout!(sock_v6_daddr), &mut to.remote);
        } else {
            write_mapped(self.0, layout!(sock_rcv_saddr), &mut to.local);
            write_mapped(self.0, layout!(sock_daddr), &mut to.remote);
        }
        to.padding = [0; 4];
    }

    #[inline(always)]
    pub fn error(self) -> u16 {
        self.0.load::<i32>(layout!(sock_err)).unwrap_or(0) as u16
    }

    #[inline(always)]
    pub fn soft_error(self) -> u16 {
        self.0.load::<i32>(layout!(sock_err_soft)).unwrap_or(0) as u16
    }

    /// The last ICMP error that was queued on it (`sock_queue_err_skb`). The kernel reports it before
    /// it sets `sk_err_soft`, and the holder's `SO_ERROR` clears that.
    #[inline(always)]
    pub fn queued_error(self) -> Option<NetworkError> {
        let queue = self.0.plus(u64::from(layout!(sock_error_queue)));
        let last = queue.follow(layout!(queue_prev))?;
        if last.0 == queue.0 {
            return None;
        }
        let told = last.plus(u64::from(layout!(skb_cb)));
        told.read(layout!(exterr_errno))
    }

    /// It has no other end any more (`tcp_disconnect`), or not yet.
    #[inline(always)]
    pub fn is_disconnected(self) -> bool {
        self.0.load::<u16>(layout!(sock_dport)).unwrap_or(0) == 0
    }

    /// `close(2)` has begun: both directions are shut (`SHUTDOWN_MASK`).
    #[inline(always)]
    pub fn is_closing(self) -> bool {
        self.0.load::<u8>(layout!(sock_shutdown)).unwrap_or(0) & 3 == 3
    }

    /// It has a file: `accept(2)` has taken it, or `connect(2)` made it.
    #[inline(always)]
    pub fn is_held(self) -> bool {
        self.0.follow(layout!(sock_socket)).is_some()
    }

    #[inline(always)]
    pub fn lingers_zero(self) -> bool {
        let flags: u64 = self.0.load(layout!(sock_flags)).unwrap_or(0);
        let time: u64 = self.0.load(layout!(sock_lingertime)).unwrap_or(1);
        flags >> (layout!(linger_bit) & 63) & 1 == 1 && time == 0
    }

    #[inline(always)]
    pub fn v6_only(self) -> bool {
        let byte: u8 = self.0.read(layout!(sock_ipv6only)).unwrap_or(0);
        byte >> (layout!(ipv6only_bit) & 7) & 1 == 1
    }

    #[inline(always)]
    pub fn backlog(self) -> (u32, u32) {
        let queued = self.0.load(layout!(sock_ack_backlog)).unwrap_or(0);
        let limit = self.0.load(layout!(sock_max_ack_backlog)).unwrap_or(0);
        (queued, limit)
    }
}

impl TcpSock {
    /// Payload bytes received in order so far (`tcp_sock.bytes_received`).
    #[inline(always)]
    pub fn received(self) -> u64 {
        self.0.load(layout!(tcp_bytes_received)).unwrap_or(0)
    }

    /// The sequence number after the last byte that the holder wrote.
    #[inline(always)]
    pub fn written(self) -> u32 {
        self.0.load(layout!(tcp_write_seq)).unwrap_or(0)
    }

    /// The sequence number at which the count of what was acknowledged began.
    #[inline(always)]
    pub fn first_sent(self) -> u32 {
        let acked: u64 = self.0.load(layout!(tcp_bytes_acked)).unwrap_or(0);
        self.acked().wrapping_sub(acked as u32)
    }

    /// The sequence number at which the count of what was received began.
    #[inline(always)]
    pub fn first_received(self) -> u32 {
        let next: u32 = self.0.load(layout!(tcp_rcv_nxt)).unwrap_or(0);
        next.wrapping_sub(self.received() as u32)
    }

    /// Bytes that were sent and not acknowledged.
    #[inline(always)]
    pub fn unacked(self) -> u32 {
        let next: u32 = self.0.load(layout!(tcp_snd_nxt)).unwrap_or(0);
        next.wrapping_sub(self.acked())
    }

    /// Segments that were sent again.
    #[inline(always)]
    pub fn retransmits(self) -> u32 {
        self.0.load(layout!(tcp_total_retrans)).unwrap_or(0)
    }

    /// The first sequence number that was not acknowledged.
    #[inline(always)]
    pub fn acked(self) -> u32 {
        self.0.load(layout!(tcp_snd_una)).unwrap_or(0)
    }

    /// Bytes that were received and never read; a FIN counts as one.
    #[inline(always)]
    pub fn unread(self) -> u32 {
        let next: u32 = self.0.load(layout!(tcp_rcv_nxt)).unwrap_or(0);
        let copied: u32 = self.0.load(layout!(tcp_copied_seq)).unwrap_or(next);
        next.wrapping_sub(copied)
    }
}

#[inline(always)]
pub fn net_inum(net: Kernel) -> u32 {
    net.read(layout!(net_inum)).unwrap_or(0)
}

/// An IPv4 address as RFC 4291, 2.5.5.2 maps it.
#[inline(always)]
pub fn write_mapped(from: Kernel, offset: u32, to: &mut [u8; 16]) {
    *to = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    if let Some(v4) = to.last_chunk_mut::<4>() {
        from.copy(offset, v4);
    }
}

/// The running task. Right only where the hook runs in the actor's own context.
#[inline(always)]
pub fn current() -> Kernel {
    // SAFETY: the helper has no preconditions.
    Kernel(unsafe { bpf_get_current_task() })
}

/// What a `struct task_struct` says of itself, written in place.
#[inline(always)]
pub fn write_task(task: Kernel, to: &mut Task) {
    to.pid = tgid(task);
    to.tid = tid(task);
    to.parent = task.follow(layout!(task_real_parent)).map_or(0, tgid);
    let cred = task.follow(layout!(task_cred));
    to.uid = cred
        .and_then(|cred| cred.read(layout!(cred_uid)))
        .unwrap_or(0);
    task.copy(layout!(task_comm), &mut to.comm);
}

#[inline(always)]
pub fn tid(task: Kernel) -> u32 {
    task.read(layout!(task_pid)).unwrap_or(0)
}

/// Living threads of its process, 255 at most.
#[inline(always)]
pub fn threads(task: Kernel) -> u8 {
    let signal = task.follow(layout!(task_signal));
    let live = signal.and_then(|signal| signal.read::<u32>(layout!(signal_live)));
    let live = live.unwrap_or(0);
    if live > 255 { 255 } else { live as u8 }
}

#[inline(always)]
pub fn tgid(task: Kernel) -> u32 {
    task.read(layout!(task_tgid)).unwrap_or(0)
}

/// When a task's process was born, on the clock of every record.
#[inline(always)]
pub fn born_at(task: Kernel) -> u64 {
    let leader = task.follow(layout!(task_group_leader));
    leader
        .and_then(|leader| leader.read(layout!(task_start_time)))
        .unwrap_or(0)
}

#[inline(always)]
pub fn is_executing(task: Kernel) -> bool {
    let byte: u8 = task.read(layout!(task_in_execve)).unwrap_or(0);
    byte >> (layout!(in_execve_bit) & 7) & 1 == 1
}

#[inline(always)]
pub fn is_exiting(task: Kernel) -> bool {
    task.read::<u32>(layout!(task_flags)).unwrap_or(0) & PF_EXITING != 0
}
