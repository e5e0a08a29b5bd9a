//! Packets that reach a listener whose accept queue is full: the kernel is about to drop them
//! (`tcp_conn_request`, `tcp_v4_syn_recv_sock`), and leaves no other trace.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::{bpf_get_socket_cookie, bpf_skc_to_tcp_sock},
};
use probe502_common::{Overflow, kind};

use crate::{connection, emit, kernel::Sock, packet, states::LISTEN};

/// A tenth of a second, and how many packets to one listener are told of in it: a flood must not
/// fill the ring.
const WINDOW: u64 = 100_000_000;
const MOST: u32 = 128;

const RST: u8 = 4;

/// A packet is about to be given to a listener.
#[inline(always)]
pub fn reached(packet: *mut __sk_buff, socket: *mut bpf_sock) -> Option<()> {
    // SAFETY: the socket is a full one; the helper answers null for other sockets.
    let tcp = unsafe { bpf_skc_to_tcp_sock(socket.cast()) };
    let sock = Sock::at(tcp.cast())?;
    let (queued, limit) = sock.backlog();
    // As `sk_acceptq_is_full` asks it.
    if queued > limit {
        tell(packet, socket, sock);
    }
    None
}

#[inline(never)]
fn tell(packet: *mut __sk_buff, socket: *mut bpf_sock, sock: Sock) -> Option<()> {
    let start = packet::start(packet)?;
    if start.flags & RST != 0 || is_flooded(socket, sock)? {
        return None;
    }
    emit::write::<Overflow>(kind::OVERFLOW, |record| {
        record.header = connection::header::<Overflow>(kind::OVERFLOW, sock.netns());
        // SAFETY: the context is valid.
        record.cookie = unsafe { bpf_get_socket_cookie(packet.cast()) };
        packet::write_addresses(
            packet,
            &start,
            &mut record.tuple.remote,
            &mut record.tuple.local,
        );
        (record.tuple.remote_port, record.tuple.local_port) =
            (start.source_port, start.target_port);
        record.tuple.padding = [0; 4];
        (record.queued, record.limit) = sock.backlog();
        record.sequence = start.sequence;
        record.tcp_flags = start.flags;
        record.padding = [0; 3];
    });
    None
}

/// Whether this listener's packets were told of often enough for now.
#[inline(always)]
fn is_flooded(socket: *mut bpf_sock, sock: Sock) -> Option<bool> {
    let known = match connection::of(socket.cast()) {
        Some(known) => known,
        None => {
            let made = connection::of_new(socket.cast())?;
            // Its end is told from what is kept here.
            made.remember(sock);
            made.seen_state = LISTEN;
            made
        }
    };
    let now = connection::now();
    if now.saturating_sub(known.overflow_at) > WINDOW {
        known.overflow_at = now;
        known.overflows = 0;
    }
    known.overflows = known.overflows.wrapping_add(1);
    Some(known.overflows > MOST)
}
