//! Packets: the first bytes of each message as it arrives, and as it leaves where no cheaper hook is.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::{
        bpf_get_socket_cookie, bpf_sk_fullsock, bpf_skb_load_bytes, bpf_tcp_sock,
    },
    macros::{cgroup_skb, map},
    maps::PerCpuArray,
    programs::SkBuffContext,
};
use probe502_common::{HEAD, Tuple, flag, how, kind, role};

use crate::{
    connection::{self, Connection, Moment, OTHER_END},
    deferred, header,
    kernel::{self, Kernel, net_inum, write_mapped},
    layout::{is_watched, layout},
    messages,
};

const IPPROTO_TCP: u32 = 6;
const LISTEN: u32 = 10;
/// IPv6's and TCP's at most (RFC 8200, 3; RFC 9293, 3.1): a longer packet has a payload.
const LONGEST_HEADERS: u32 = 40 + 60;
/// IPv4's and TCP's at least: a packet that is no longer has no payload.
const SHORTEST_HEADERS: u32 = 20 + 20;
/// Answers that begin with a smaller packet cannot overflow a gateway's header buffer by it: nginx's
/// smallest by default is 4 KiB (`proxy_buffer_size`).
const DEEP: usize = 4096;

/// Where a large answer's first bytes are looked at for the end of their header.
#[map]
static SCRATCH: PerCpuArray<[u8; DEEP]> = PerCpuArray::with_max_entries(1, 0);

#[cgroup_skb(ingress)]
pub fn packet_in(ctx: SkBuffContext) -> i32 {
    arrived(ctx.skb.skb);
    1
}

#[cgroup_skb(egress)]
pub fn packet_out(ctx: SkBuffContext) -> i32 {
    left(ctx.skb.skb);
    1
}

/// A packet's payload: where it begins, how long it is, and its sequence number.
struct Payload {
    /// Where the TCP header begins.
    tcp: u32,
    is_v4: bool,
    offset: u32,
    length: u32,
    sequence: u32,
}

#[inline(always)]
fn arrived(packet: *mut __sk_buff) -> Option<()> {
    let socket = full_socket(packet)?;
    // SAFETY: the verifier knows the socket as a full one.
    if unsafe { (*socket).state } == LISTEN {
        return defer(packet);
    }
    let mut known = connection::of(socket.cast());
    if let Some(known) = &mut known
        && known.speaker == OTHER_END
        && usize::from(known.heard_head_length) == HEAD
    {
        // SAFETY: the context is valid.
        if unsafe { (*packet).len } > LONGEST_HEADERS {
            known.listened_at = connection::last_tick();
        }
        return None;
    }
    let payload = payload(packet)?;
    let connection = match known {
        Some(known) => known,
        None => adopt(packet, socket)?,
    };
    connection.listened_at = connection::last_tick();
    if connection.speaker == OTHER_END {
        append(packet, &payload, connection);
        return None;
    }
    // What comes after `100 Continue` is the request's body.
    if connection.role == role::ACCEPTED && messages::is_interim(connection) {
        connection.speaker = OTHER_END;
        return None;
    }
    connection.heard_at = connection::now();
    if connection.role == role::ACCEPTED && connection.said > 0 {
        connection.idled(connection.spoke_at, connection.heard_at);
    }
    connection.heard = connection.heard.wrapping_add(1);
    connection.speaker = OTHER_END;
    connection.heard_head_length = load(packet, &payload, &mut connection.heard_head);
    if connection.role == role::UNKNOWN
        && messages::is_request(&connection.heard_head, connection.heard_head_length)
    {
        connection.role = role::ACCEPTED;
    }
    if connection.role == role::ACCEPTED {
        return None;
    }
    scan(packet, &payload, connection);
    let status = messages::status(&connection.heard_head, connection.heard_head_length)?;
    if is_watched(status) {
        tell_heard(connection, status, payload.length);
    }
    None
}

#[inline(always)]
fn left(packet: *mut __sk_buff) -> Option<()> {
    let socket = full_socket(packet)?;
    let payload = payload(packet)?;
    let connection = match connection::of(socket.cast()) {
        Some(known) => known,
        None => adopt(packet, socket)?,
    };
    // SAFETY: the verifier knows the socket as a full one; the helper answers null where it is not
    // TCP, and `as_ref` looks.
    let received = unsafe { bpf_tcp_sock(socket).as_ref() }?.bytes_received
        - u64::from(connection.has(flag::FIN_HEARD));
    connection.spoke_at = connection::now();
    let written = payload.sequence.wrapping_add(payload.length);
    if messages::begins(connection, received) {
        let tid = kernel::tid(kernel::current());
        messages::begin(connection, tid, received, payload.sequence);
        connection.said_head_length = load(packet, &payload, &mut connection.said_head);
        let status = messages::status(&connection.said_head, connection.said_head_length);
        messages::learn_role(connection, status.is_some());
        return messages::tell_if_watched(connection, status, received, written);
    }
    // Sent again, not said again.
    if payload.sequence == connection.said_mark {
        return None;
    }
    let mut peek = [0; 16];
    let length = load(packet, &payload, &mut peek);
    messages::tell_continued(
        connection,
        messages::status(&peek, length),
        received,
        written,
    )
}

#[inline(always)]
fn tell_heard(connection: &Connection, status: u16, length: u32) {
    let moment = Moment {
        kind: kind::HEARD,
        status,
        how: how::OPEN,
        state: 1,
        received: connection.received_mark + u64::from(length),
        written: connection.said_mark,
        unread: 0,
        flags: flag::HELD,
        acted: false,
    };
    connection::send(connection, &moment);
}

#[inline(always)]
fn full_socket(packet: *mut __sk_buff) -> Option<*mut bpf_sock> {
    // SAFETY: the context is valid; the verifier turns this into a read of `skb->sk`.
    let socket = unsafe { (*packet).__bindgen_anon_2.sk };
    if socket.is_null() {
        return None;
    }
    // SAFETY: not null; the helper answers null for a request or TIME_WAIT socket.
    let full = unsafe { bpf_sk_fullsock(socket) };
    // SAFETY: `as_ref` looks for null.
    let fields = unsafe { full.as_ref() }?;
    (fields.protocol == IPPROTO_TCP).then_some(full)
}

/// A listener's packet with a payload: the child that is made from it takes the bytes over.
#[inline(always)]
fn defer(packet: *mut __sk_buff) -> Option<()> {
    // SAFETY: the context is valid.
    if unsafe { (*packet).len } <= SHORTEST_HEADERS {
        return None;
    }
    let payload = payload(packet)?;
    let place = deferred::place()?;
    place.client = read(packet, if payload.is_v4 { 12 } else { 20 })?;
    place.ports = read(packet, payload.tcp)?;
    place.at = connection::now();
    place.length = load(packet, &payload, &mut place.head);
    None
}

/// Storage for a socket that is older than the programs; the namespace is added where it is in reach.
#[inline(always)]
fn adopt(packet: *mut __sk_buff, socket: *mut bpf_sock) -> Option<&'static mut Connection> {
    let made = connection::of_new(socket.cast())?;
    // SAFETY: the context is valid.
    made.cookie = unsafe { bpf_get_socket_cookie(packet.cast()) };
    made.flags = flag::LATE | flag::ESTABLISHED;
    // SAFETY: the socket is a full one; `as_ref` looks for null.
    if let Some(tcp) = unsafe { bpf_tcp_sock(socket).as_ref() } {
        made.received_mark = tcp.bytes_received;
    }
    Some(made)
}

#[inline(always)]
fn payload(packet: *mut __sk_buff) -> Option<Payload> {
    let ip: [u8; 8] = read(packet, 0)?;
    let tcp = match ip[0] >> 4 {
        4 => u32::from(ip[0] & 15) * 4,
        // IPv6 with extension headers before TCP is not followed: hosts do not send such.
        6 if ip[6] == 6 => 40,
        _ => return None,
    };
    // From the sequence number to the header's own length (RFC 9293, 3.1).
    let header: [u8; 12] = read(packet, tcp + 4)?;
    let offset = tcp + u32::from(header[8] >> 4) * 4;
    // SAFETY: the context is valid.
    let length = unsafe { (*packet).len }.checked_sub(offset)?;
    if length == 0 {
        return None;
    }
    let sequence = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    Some(Payload {
        tcp,
        is_v4: ip[0] >> 4 == 4,
        offset,
        length,
        sequence,
    })
}

#[inline(always)]
fn read<T: Copy>(packet: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    let size = size_of::<T>() as u32;
    // SAFETY: the helper writes `size` bytes into a `T`, or fails.
    let failed =
        unsafe { bpf_skb_load_bytes(packet.cast(), offset, value.as_mut_ptr().cast(), size) };
    // SAFETY: on success all bytes are written; `T` is an array of bytes.
    (failed == 0).then(|| unsafe { value.assume_init() })
}

/// At least 1 and at most `most`, in a way that the verifier sees: the compiler, which knows more,
/// would leave the checks out.
#[inline(always)]
fn bounded(length: u32, most: u32) -> Option<u32> {
    // SAFETY: a read of a local variable.
    let length = unsafe { core::ptr::read_volatile(&raw const length) };
    if length == 0 {
        return None;
    }
    Some(if length > most { most } else { length })
}

/// Copies the payload's start; returns how many bytes.
#[inline(always)]
fn load<const N: usize>(packet: *mut __sk_buff, payload: &Payload, to: &mut [u8; N]) -> u16 {
    let Some(size) = bounded(payload.length, N as u32) else {
        return 0;
    };
    // SAFETY: at most N bytes go into an array of N.
    let failed =
        unsafe { bpf_skb_load_bytes(packet.cast(), payload.offset, to.as_mut_ptr().cast(), size) };
    if failed == 0 { size as u16 } else { 0 }
}

/// Adds to the message's head what arrives in small pieces.
#[inline(always)]
fn append(packet: *mut __sk_buff, payload: &Payload, connection: &mut Connection) {
    let head = &mut connection.heard_head;
    let Some((place, room)) = messages::head_room(head, connection.heard_head_length) else {
        return;
    };
    let Some(size) = bounded(
        if payload.length > room {
            room
        } else {
            payload.length
        },
        HEAD as u32,
    ) else {
        return;
    };
    // SAFETY: at most the room that is left.
    let failed = unsafe { bpf_skb_load_bytes(packet.cast(), payload.offset, place.cast(), size) };
    if failed == 0 {
        connection.heard_head_length += size as u16;
    }
}

/// Looks for the end of a large answer's header (RFC 9112, 2.1).
#[inline(always)]
fn scan(packet: *mut __sk_buff, payload: &Payload, connection: &mut Connection) {
    connection.flags &= !(flag::HEADER_END_HEARD | flag::HEADER_SCANNED);
    connection.scanned = u32::from(connection.heard_head_length);
    if payload.length < DEEP as u32 {
        return;
    }
    let Some(place) = SCRATCH.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this processor's own element; the hook runs with softirqs held, so not twice at once.
    let bytes = unsafe { &mut *place };
    if usize::from(load(packet, payload, bytes)) != DEEP {
        return;
    }
    connection.scanned = DEEP as u32;
    connection.flags |= flag::HEADER_SCANNED;
    if header::ends_within(bytes, DEEP as u32) {
        connection.flags |= flag::HEADER_END_HEARD;
    }
}

/// The network namespace that a kernel packet is in: by its device, else by its route.
#[inline(always)]
pub fn netns(packet: Kernel) -> u32 {
    let device = packet.follow(layout!(skb_dev)).or_else(|| {
        let route: u64 = packet.read(layout!(skb_dst))?;
        // The lowest bit says that the reference is not counted (`SKB_DST_NOREF`).
        let route = Kernel::at((route & !1) as *const _)?;
        route.follow(layout!(dst_dev))
    });
    device
        .and_then(|device| device.follow(layout!(dev_net)))
        .map_or(0, net_inum)
}

/// Whether a kernel packet came in by a device, rather than from a socket of its namespace.
#[inline(always)]
pub fn has_arrived(packet: Kernel) -> bool {
    packet.read::<u32>(layout!(skb_iif)).unwrap_or(0) != 0
}

/// Where a kernel packet's IP and TCP headers are; `None` where it is not TCP.
#[derive(Clone, Copy)]
pub struct Headers {
    ip: Kernel,
    tcp: Kernel,
    is_v4: bool,
}

impl Headers {
    #[inline(always)]
    pub fn of(packet: Kernel) -> Option<Self> {
        let head = packet.follow(layout!(skb_head))?;
        let network: u16 = packet.read(layout!(skb_network_header))?;
        let ip = head.plus(u64::from(network));
        let first: u8 = ip.read(0)?;
        match first >> 4 {
            4 if ip.read::<u8>(9)? == 6 => {
                let tcp = ip.plus(u64::from(first & 15) * 4);
                Some(Self {
                    ip,
                    tcp,
                    is_v4: true,
                })
            }
            6 if ip.read::<u8>(6)? == 6 => Some(Self {
                ip,
                tcp: ip.plus(40),
                is_v4: false,
            }),
            _ => None,
        }
    }

    /// Its source as `local`.
    #[inline(always)]
    pub fn write_tuple(self, to: &mut Tuple) {
        if self.is_v4 {
            write_mapped(self.ip, 12, &mut to.local);
            write_mapped(self.ip, 16, &mut to.remote);
        } else {
            self.ip.copy(8, &mut to.local);
            self.ip.copy(24, &mut to.remote);
        }
        self.tcp.copy(0, &mut to.local_port);
        self.tcp.copy(2, &mut to.remote_port);
        to.padding = [0; 4];
    }

    /// The sequence number (RFC 9293, 3.1).
    #[inline(always)]
    pub fn sequence(self) -> u32 {
        self.tcp.read(4).map_or(0, u32::from_be)
    }

    /// The flags byte (RFC 9293, 3.1).
    #[inline(always)]
    pub fn tcp_flags(self) -> u8 {
        self.tcp.read(13).unwrap_or(0)
    }
}

const _: () = assert!(HEAD <= DEEP);
