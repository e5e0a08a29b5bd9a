//! Packets: the first bytes of each message as it arrives, and as it leaves where no cheaper hook is.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::{
        bpf_get_socket_cookie, bpf_sk_fullsock, bpf_skb_load_bytes, bpf_tcp_sock,
    },
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use probe502_common::{HEAD, flag, role};

use crate::{
    connection::{self, Connection, OTHER_END},
    deferred, kernel,
    kernel::bounded,
    layout::{is_watched, layout},
    messages, names, overflows,
    packet::{read, start},
    resets, scanning, speech,
    states::{CLOSE, LISTEN},
    tls, tries, turns,
    words::Peek,
};

const IPPROTO_TCP: u32 = 6;
const SOCK_RAW: u32 = 3;
/// IPv6's and TCP's at most (RFC 8200, 3; RFC 9293, 3.1): a longer packet has a payload.
const LONGEST_HEADERS: u32 = 40 + 60;
/// IPv4's and TCP's at least: a packet that is no longer has no payload.
const SHORTEST_HEADERS: u32 = 20 + 20;

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
pub struct Payload {
    /// Where the TCP header begins.
    tcp: u32,
    is_v4: bool,
    pub offset: u32,
    pub length: u32,
    pub sequence: u32,
}

#[inline(always)]
fn arrived(packet: *mut __sk_buff) -> Option<()> {
    let (socket, state) = full_socket(packet)?;
    if state == u32::from(LISTEN) {
        overflows::reached(packet, socket);
        return defer(packet);
    }
    let mut known = connection::of(socket.cast());
    if let Some(known) = &mut known
        && known.speaker == OTHER_END
        && usize::from(known.heard_head_length) == HEAD
        && !scanning::is_on(known)
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
    let told = if connection.speaker == OTHER_END && !turns::is_over(connection) {
        follow(packet, &payload, connection)
    } else {
        // SAFETY: the socket is a full one; `as_ref` looks for null.
        let received = unsafe { bpf_tcp_sock(socket).as_ref() }?.bytes_received;
        begin(packet, &payload, (connection, received))
    };
    if connection.role != role::ACCEPTED {
        scanning::scan(packet, &payload, connection);
    }
    told
}

/// A message begins.
#[inline(always)]
fn begin(
    packet: *mut __sk_buff,
    payload: &Payload,
    (connection, received): (&mut Connection, u64),
) -> Option<()> {
    // What comes after an interim answer is one of its own.
    if connection.speaker == OTHER_END {
        connection.received_mark = received;
    }
    // What comes after `100 Continue` is the request's body.
    if connection.role == role::ACCEPTED && turns::is_interim(connection) {
        connection.speaker = OTHER_END;
        return None;
    }
    connection.heard_at = connection::now();
    if connection.role == role::ACCEPTED && connection.said > 0 {
        connection.idled(connection.spoke_at, connection.heard_at);
    }
    connection.heard = connection.heard.wrapping_add(1);
    connection.speaker = OTHER_END;
    connection.heard_head_length = load(packet, payload, &mut connection.heard_head);
    if connection.role == role::UNKNOWN
        && messages::is_request(&connection.heard_head, connection.heard_head_length)
    {
        connection.role = role::ACCEPTED;
    }
    if connection.role == role::ACCEPTED {
        return None;
    }
    scanning::begin(connection, payload);
    heard(connection, payload.length)
}

/// A message goes on.
#[inline(always)]
fn follow(packet: *mut __sk_buff, payload: &Payload, connection: &mut Connection) -> Option<()> {
    let before = connection.heard_head_length;
    if connection.role == role::ACCEPTED {
        return take_in(packet, payload, connection);
    }
    scanning::look_back(connection);
    take_in(packet, payload, connection);
    let length = connection.heard_head_length;
    if before < messages::STATUS_LINE && length >= messages::STATUS_LINE {
        return heard(connection, u32::from(length));
    }
    None
}

/// Adds to the heard message's head what arrives in small pieces.
#[inline(always)]
fn take_in(packet: *mut __sk_buff, payload: &Payload, connection: &mut Connection) -> Option<()> {
    let used = connection.heard_head_length;
    connection.heard_head_length += append(packet, payload, &mut connection.heard_head, used);
    None
}

#[inline(always)]
fn heard(connection: &mut Connection, length: u32) -> Option<()> {
    let status = messages::status(&connection.heard_head, connection.heard_head_length);
    tries::note_heard(connection, status);
    let status = status?;
    // What a retry got is told once, whatever it is.
    let rescues = core::mem::take(&mut connection.rescues) == 1 && status >= 200;
    let flags = u16::from(!is_watched(status)) * flag::UNWATCHED;
    if flags == 0 || rescues {
        messages::tell_heard(connection, status, length, flags);
    }
    None
}

#[inline(always)]
fn left(packet: *mut __sk_buff) -> Option<()> {
    let (socket, state) = full_socket(packet)?;
    // A connection's socket is not raw; the kernel's own, by which it refuses, is.
    if state == u32::from(CLOSE) && layout!(reset_has_reason) == 0 {
        // SAFETY: the socket is a full one.
        let is_raw = unsafe { (*socket).type_ } == SOCK_RAW;
        return if is_raw {
            resets::refused(packet, socket)
        } else {
            None
        };
    }
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
    if connection.role != role::ACCEPTED {
        tries::note_asked(connection.owner.pid, connection.spoke_at);
    }
    let written = payload.sequence.wrapping_add(payload.length);
    let mut peek = Peek([0; 16]);
    let length = load(packet, &payload, &mut peek.0);
    let goes_on = |connection: &mut Connection| {
        let first = [peek.0[0], peek.0[1]];
        connection.has(flag::ASKED) && tls::is_alert(first, payload.length.into())
            || turns::may_write_body(connection) && turns::goes_on(connection, &peek, received)
    };
    if turns::begins(connection, received) && !goes_on(connection) {
        let tid = kernel::tid(kernel::current());
        messages::begin(connection, tid, received, payload.sequence);
        connection.said_head_length = load(packet, &payload, &mut connection.said_head);
        tls::note_asked(connection, u64::from(payload.length));
        speech::learn(connection);
        let status = messages::status(&connection.said_head, connection.said_head_length);
        messages::learn_role(connection, status.is_some());
        return messages::tell_if_watched(connection, status, received, written);
    }
    // Sent again, not said again.
    if payload.sequence == connection.said_mark {
        return None;
    }
    go_on(packet, &payload, connection, received);
    messages::tell_continued(
        connection,
        messages::status(&peek.0, length),
        received,
        written,
    )
}

/// A message that is said goes on.
#[inline(always)]
fn go_on(packet: *mut __sk_buff, payload: &Payload, connection: &mut Connection, received: u64) {
    if connection.role == role::DIALLED {
        let mut first = [0; 2];
        load(packet, payload, &mut first);
        tls::asked_by(connection, first, u64::from(payload.length));
        return;
    }
    let before = connection.said_head_length;
    // Sent again, not said again.
    if payload.sequence == connection.said_mark.wrapping_add(u32::from(before)) {
        let head = &mut connection.said_head;
        connection.said_head_length += append(packet, payload, head, before);
        let written = payload.sequence.wrapping_add(payload.length);
        messages::tell_completed(connection, before, received, written);
    }
}

/// The packet's TCP socket, and its state.
#[inline(always)]
fn full_socket(packet: *mut __sk_buff) -> Option<(*mut bpf_sock, u32)> {
    // SAFETY: the context is valid; the verifier turns this into a read of `skb->sk`.
    let socket = unsafe { (*packet).__bindgen_anon_2.sk };
    if socket.is_null() {
        return None;
    }
    // SAFETY: not null; the helper answers null for a request or TIME_WAIT socket.
    let full = unsafe { bpf_sk_fullsock(socket) };
    // SAFETY: `as_ref` looks for null.
    let fields = unsafe { full.as_ref() }?;
    if fields.protocol == names::IPPROTO_UDP && fields.dst_port == names::PORT {
        names::heard(packet);
    }
    (fields.protocol == IPPROTO_TCP).then_some((full, fields.state))
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
pub fn payload(packet: *mut __sk_buff) -> Option<Payload> {
    let start = start(packet)?;
    // SAFETY: the context is valid.
    let length = unsafe { (*packet).len }.checked_sub(start.offset)?;
    if length == 0 {
        return None;
    }
    Some(Payload {
        tcp: start.tcp,
        is_v4: start.is_v4,
        offset: start.offset,
        length,
        sequence: start.sequence,
    })
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

/// Adds to a head of which this much is used; returns how many bytes.
#[inline(always)]
fn append(packet: *mut __sk_buff, payload: &Payload, head: &mut [u8; HEAD], used: u16) -> u16 {
    let Some((place, room)) = messages::head_room(head, used) else {
        return 0;
    };
    let length = if payload.length > room {
        room
    } else {
        payload.length
    };
    let Some(size) = bounded(length, HEAD as u32) else {
        return 0;
    };
    // SAFETY: at most the room that is left.
    let failed = unsafe { bpf_skb_load_bytes(packet.cast(), payload.offset, place.cast(), size) };
    if failed == 0 { size as u16 } else { 0 }
}
