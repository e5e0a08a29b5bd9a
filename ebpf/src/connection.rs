//! What is kept beside each socket while it lives, and how it leaves as a [`Flow`].

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    btf_maps::SkStorage,
    helpers::{
        bpf_ktime_get_ns,
        generated::{bpf_ktime_get_coarse_ns, bpf_sk_storage_get},
    },
    macros::btf_map,
};
use probe502_common::{HEAD, Header, Task, Tuple, flag, kind, role};

use crate::{
    body::{self, Body},
    emit,
    kernel::{self, Sock, TcpSock},
};

pub use crate::moment::{Moment, fill, send};

/// One socket's life so far. The kernel frees it with the socket.
#[repr(C)]
pub struct Connection {
    pub said_head: [u8; HEAD],
    pub heard_head: [u8; HEAD],
    pub cookie: u64,
    pub owner: Task,
    pub tuple: Tuple,
    /// What its thread had let go of just before: see `Flow::before`.
    pub before: u64,
    /// When its thread had begun an answer just before it let go of it: see `Flow::answered_at`.
    pub answered_at: u64,
    pub netns: u32,
    pub error: u16,
    pub soft_error: u16,
    pub opened_at: u64,
    pub established_at: u64,
    pub fin_at: u64,
    pub reset_at: u64,
    pub said_at: u64,
    pub heard_at: u64,
    pub heard_before_at: u64,
    /// When the holder last sent anything.
    pub spoke_at: u64,
    /// When bytes of the other end last arrived, to the tick.
    pub listened_at: u64,
    /// Bytes received when the last message said began.
    pub received_mark: u64,
    /// The sequence number at which the last message said began.
    pub said_mark: u32,
    pub isn: u32,
    pub peer_isn: u32,
    pub retransmits: u32,
    pub unacked: u32,
    pub longest_idle_ms: u32,
    /// Of a listener: packets that reached it with its queue full, since when.
    pub overflows: u32,
    pub overflow_at: u64,
    pub said: u32,
    pub heard: u32,
    pub scanned: u32,
    /// Bytes that an accepting end had not read when it last wrote in TLS: what it wrote answers none of
    /// them.
    pub unread_then: u32,
    pub flags: u16,
    pub said_head_length: u16,
    pub heard_head_length: u16,
    pub role: u8,
    pub speaker: u8,
    /// The TCP state that the kernel ended it in.
    pub ended_state: u8,
    /// Its holder has let go, and that was dealt with.
    pub gone: u8,
    /// The TCP state that was last dealt with: of a hook's twins, the second leaves it alone.
    pub seen_state: u8,
    pub icmp_origin: u8,
    pub icmp_type: u8,
    pub icmp_code: u8,
    /// The last bytes that were looked at for the end of a header.
    pub tail: [u8; 4],
    /// 1 where it was dialled or asked as its thread had let go of a failed one: a retry, whose
    /// answer is told whatever it is.
    pub rescues: u8,
    pub padding: [u8; 5],
    /// Under `--silent`: the body of the answer.
    pub body: Body,
    /// Never used: the verifier bounds an append to a head by the head's length plus its own size,
    /// as if it could reach this far.
    pub slack: [u8; 64],
}

/// Who speaks (`Connection::speaker`).
pub const NOBODY: u8 = 0;
pub const HOLDER: u8 = 1;
pub const OTHER_END: u8 = 2;

/// Unbounded by itself: as many as there are sockets, some 900 bytes each.
#[btf_map]
static CONNECTIONS: SkStorage<Connection> = SkStorage::new();

/// The storage of a socket; `socket` must be a pointer that the verifier knows as one.
#[inline(always)]
pub fn of(socket: *const c_void) -> Option<&'static mut Connection> {
    storage(socket, 0)
}

/// The storage of a socket, made where there is none. The kernel refuses one that is over the
/// namespace's `net.core.optmem_max`, or when memory is short.
#[inline(always)]
pub fn of_new(socket: *const c_void) -> Option<&'static mut Connection> {
    let made = storage(socket, u64::from(BPF_SK_STORAGE_GET_F_CREATE));
    if made.is_none() {
        emit::miss(kind::FORGOTTEN);
    }
    made
}

#[inline(always)]
fn storage(socket: *const c_void, flags: u64) -> Option<&'static mut Connection> {
    let map = (&raw const CONNECTIONS).cast_mut().cast();
    // SAFETY: the helper checks the socket; what it returns belongs to the socket, which outlives
    // the program's run.
    unsafe {
        bpf_sk_storage_get(map, socket.cast_mut(), core::ptr::null_mut(), flags)
            .cast::<Connection>()
            .as_mut()
    }
}

/// The last tick's time, milliseconds late and a few nanoseconds dear: for every packet.
#[inline(always)]
pub fn last_tick() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// `CLOCK_MONOTONIC`, nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// The records' first member.
#[inline(always)]
pub fn header<T>(kind: u16, netns: u32) -> Header {
    Header {
        kind,
        size: size_of::<T>() as u16,
        netns,
        at: now(),
    }
}

impl Connection {
    /// A socket may dial again after a failure: nothing of the earlier life stays.
    #[inline(always)]
    pub fn renew(&mut self, role: u8) {
        self.opened_at = now();
        self.role = role;
        self.flags = 0;
        self.error = 0;
        self.soft_error = 0;
        self.icmp_origin = 0;
        self.ended_state = 0;
        self.gone = 0;
        self.speaker = NOBODY;
        body::renew(&mut self.body);
    }

    /// Keeps who and where, which the kernel forgets at the end.
    #[inline(always)]
    pub fn remember(&mut self, sock: Sock) {
        sock.write_tuple(&mut self.tuple);
        self.netns = sock.netns();
    }

    /// The kernel skips a hook that interrupts itself on one processor (`recursion_misses`): what
    /// an earlier change of state should have told is taken from the socket as it is now.
    #[inline(always)]
    pub fn catch_up(&mut self, sock: Sock) {
        self.remember(sock);
        self.flags |= flag::ESTABLISHED;
        if self.established_at == 0 {
            self.established_at = now();
        }
    }

    /// A socket that is older than the programs: its counts begin now.
    #[inline(always)]
    pub fn adopt(&mut self, sock: Sock) {
        self.remember(sock);
        self.flags = flag::LATE | flag::ESTABLISHED;
        // CLOSE_WAIT, LAST_ACK and CLOSING (`net/tcp_states.h`) come after the other end's FIN.
        if matches!(sock.state(), 8 | 9 | 11) {
            self.flags |= flag::FIN_HEARD;
        }
        if let Some(tcp) = sock.tcp() {
            self.received_mark = self.received(tcp);
            self.said_mark = tcp.written();
        }
    }

    #[inline(always)]
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The other end has left: by a FIN or a RST.
    #[inline(always)]
    pub fn was_left(&self) -> bool {
        self.has(flag::FIN_HEARD | flag::RESET_HEARD)
    }

    /// Payload bytes received so far. The kernel counts a FIN as one (`tcp_fin`).
    #[inline(always)]
    pub fn received(&self, tcp: TcpSock) -> u64 {
        tcp.received()
            .saturating_sub(u64::from(self.has(flag::FIN_HEARD)))
    }

    /// Keeps what the kernel forgets when it disconnects a socket (`tcp_disconnect`).
    #[inline(always)]
    pub fn count(&mut self, tcp: TcpSock) {
        if self.role == role::UNKNOWN {
            return;
        }
        // The dialling end alone counts its SYN (`tcp_ack`).
        let syn = u32::from(self.role == role::ACCEPTED);
        self.isn = tcp.first_sent().wrapping_sub(syn);
        if self.has(flag::ESTABLISHED) {
            self.peer_isn = tcp.first_received().wrapping_sub(1);
        }
        self.retransmits = tcp.retransmits();
        // Whoever takes nothing lets even the sending wait.
        self.unacked = if self.role == role::ACCEPTED {
            tcp.written().wrapping_sub(tcp.acked())
        } else {
            tcp.unacked()
        };
    }

    /// A message begins after this much silence.
    #[inline(always)]
    pub fn idled(&mut self, since: u64, now: u64) {
        let silence = (now.saturating_sub(since) / 1_000_000) as u32;
        if silence > self.longest_idle_ms {
            self.longest_idle_ms = silence;
        }
    }

    /// What it says now answers all that has come.
    #[inline(always)]
    pub fn answer(&mut self, received: u64) {
        self.received_mark = received;
        self.speaker = HOLDER;
        self.unread_then = 0;
    }

    /// What lay unread when it last spoke in TLS was not answered by that.
    #[inline(always)]
    pub fn count_unread(&mut self) {
        if self.unread_then > 0 {
            self.received_mark -= u64::from(self.unread_then);
            self.speaker = OTHER_END;
            self.unread_then = 0;
        }
    }

    /// Bytes of the last message heard; 0 while a said message is unanswered.
    #[inline(always)]
    pub fn heard_bytes(&self, received: u64) -> u64 {
        received.saturating_sub(self.received_mark)
    }
}

/// The flags that say whether the running task may hold a copy of what another process serves.
#[inline(always)]
pub fn copied(connection: &Connection) -> u16 {
    if connection.role != role::ACCEPTED {
        return 0;
    }
    let task = kernel::current();
    let executing = if kernel::is_executing(task) {
        flag::EXECUTING
    } else {
        0
    };
    let established = connection.established_at;
    if established != 0 && kernel::born_at(task) > established {
        executing | flag::INHERITED
    } else {
        executing
    }
}

/// The flag that says whether the running task is dying.
#[inline(always)]
pub fn dying() -> u16 {
    if kernel::is_exiting(kernel::current()) {
        flag::DYING
    } else {
        0
    }
}
