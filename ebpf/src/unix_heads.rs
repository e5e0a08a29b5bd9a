//! What UNIX messages begin with. The hook at a writer's end may look after its reader has taken the
//! packet, on another processor: so what the other end wrote is met where the dialling end takes it,
//! in the order in which that end does everything else.

use aya_ebpf::{macros::map, maps::LruHashMap};
use probe502_common::{HEAD, how, kind};

use crate::{
    connection::{self, OTHER_END},
    emit,
    kernel::{self, Kernel},
    layout::{is_watched, layout},
    messages, tries,
    unix::{UnixConnection, known, tell},
};

/// Requests that the other end took before their writer was seen, by the accepted end. Full: the least
/// recent one is forgotten, and has no request line.
#[map]
static EARLY: LruHashMap<u64, Early> = LruHashMap::with_max_entries(64, 0);

#[repr(C)]
struct Early {
    /// Bytes of the connection's requests before it.
    position: u32,
    length: u32,
    head: [u8; HEAD],
}

/// What a new element of [`EARLY`] is made from.
static BLANK: Early = Early {
    position: 0,
    length: 0,
    head: [0; HEAD],
};

/// A reader has taken a packet of `size` bytes whole: its task runs. `writer` is whose it was.
#[inline(always)]
pub fn took(packet: Kernel, writer: Kernel, size: u32) -> Option<()> {
    let (own, peer) = (writer.number(), writer.unix_peer());
    if let Some(known) = known(own) {
        if peer == known.dialled || peer == 0 && is_closed(writer) {
            answer_taken(known, packet, size);
        }
    } else if let Some(known) = known(peer).filter(|known| known.dialled == own) {
        request_taken(known, packet, peer, size);
    }
    None
}

/// Both directions are shut: it has no other end any more.
#[inline(always)]
fn is_closed(socket: Kernel) -> bool {
    socket.read::<u8>(layout!(sock_shutdown)).unwrap_or(0) & 3 == 3
}

/// The dialling end has taken it.
#[inline(never)]
fn answer_taken(known: &mut UnixConnection, packet: Kernel, size: u32) {
    let is_met = known.received > known.taken;
    known.taken += u64::from(size);
    if !is_met {
        known.received = known.taken;
        heard(known, packet);
    }
}

/// The dialling end has read, or looks at, what may lie in its queue still: a packet that was read in
/// part, or not yet.
#[inline(never)]
pub fn meet(known: &mut UnixConnection, dialled: Kernel) -> Option<()> {
    if known.received > known.taken {
        return None;
    }
    let queue = dialled.plus(u64::from(layout!(sock_receive_queue)));
    let packet = queue.follow(layout!(queue_next))?;
    if packet.number() == queue.number() {
        return None;
    }
    known.received = known.taken + u64::from(length(packet));
    heard(known, packet);
    None
}

/// What came of a read of `size` bytes: those that were not met leave it open what they were.
#[inline(always)]
pub fn count_unmet(known: &mut UnixConnection, size: u32) {
    let received = known.received as u32;
    known.had = known.had.wrapping_add(size);
    if known.had.wrapping_sub(received) as i32 > 0 {
        known.had = received;
        emit::miss(kind::UNMET);
    }
}

/// A connection has this address from now on: what an older one left there is not its own.
#[inline(always)]
pub fn forget(accepted: u64) {
    let _ = EARLY.remove(accepted);
}

/// The dialling end meets what the other end wrote: its task runs.
#[inline(never)]
fn heard(known: &mut UnixConnection, packet: Kernel) -> Option<()> {
    let connection = &mut known.connection;
    let begins = connection.speaker != OTHER_END;
    if begins {
        let is_seen = known.wrote_at > connection.said_at;
        connection.heard_at = if is_seen {
            known.wrote_at
        } else {
            connection::now()
        };
        connection.heard = connection.heard.wrapping_add(1);
        connection.speaker = OTHER_END;
        connection.heard_head_length = 0;
        connection.scanned = 0;
    }
    let used = connection.heard_head_length;
    connection.heard_head_length += append(packet, &mut connection.heard_head, used);
    let status = messages::status(&connection.heard_head, connection.heard_head_length);
    tries::note_heard(connection, status);
    let status = status?;
    if used < messages::STATUS_LINE && is_watched(status) {
        tell(known, kind::UNIX_HEARD, status, how::OPEN, false);
    }
    None
}

/// The other end has taken it: kept where its writer was not seen yet.
#[inline(never)]
fn request_taken(
    known: &mut UnixConnection,
    packet: Kernel,
    accepted: u64,
    size: u32,
) -> Option<()> {
    let position = known.passed;
    known.passed = position.wrapping_add(size);
    if known.shown.wrapping_sub(known.passed) <= i32::MAX as u32 {
        return None;
    }
    EARLY.insert(accepted, &BLANK, 0).ok()?;
    // SAFETY: an element stays readable while the program runs; its position says whose it is.
    let early = unsafe { EARLY.get_ptr_mut(accepted)?.as_mut()? };
    early.length = u32::from(append(packet, &mut early.head, 0));
    early.position = position;
    None
}

/// The dialling end wrote this packet: its task runs.
#[inline(always)]
pub fn show(known: &mut UnixConnection, packet: Kernel) {
    let connection = &mut known.connection;
    let used = connection.said_head_length;
    connection.said_head_length += append(packet, &mut connection.said_head, used);
    known.shown = known.shown.wrapping_add(length(packet));
}

/// The dialling end wrote what the other end has taken already.
#[inline(never)]
pub fn recall(known: &mut UnixConnection, accepted: u64) {
    let connection = &mut known.connection;
    if connection.said_head_length != 0 {
        return;
    }
    if let Some(early) = EARLY.get_ptr(accepted)
        // SAFETY: an element stays readable while the program runs.
        && let early = unsafe { &*early }
        && early.position == known.shown
    {
        connection.said_head = early.head;
        connection.said_head_length = early.length as u16;
    }
}

/// The dialling end's write has come to its end.
#[inline(always)]
pub fn count_written(known: &mut UnixConnection, accepted: u64, size: u32) {
    known.written = known.written.wrapping_add(size);
    if known.shown != known.written {
        recall(known, accepted);
        known.shown = known.written;
    }
}

#[inline(always)]
pub fn length(packet: Kernel) -> u32 {
    packet.read(layout!(skb_len)).unwrap_or(0)
}

/// Adds a packet's first bytes to a head; returns how many. What lies in pages is not in reach.
#[inline(always)]
fn append(packet: Kernel, head: &mut [u8; HEAD], used: u16) -> u16 {
    let paged: u32 = packet.read(layout!(skb_data_len)).unwrap_or(0);
    let linear = length(packet).saturating_sub(paged);
    let Some(data) = packet.follow(layout!(skb_data)) else {
        return 0;
    };
    if used == 0 {
        return data.write_bytes(linear, head).unwrap_or(0) as u16;
    }
    let Some((place, room)) = messages::head_room(head, used) else {
        return 0;
    };
    let wanted = if linear > room { room } else { linear };
    let Some(size) = kernel::bounded(wanted, HEAD as u32) else {
        return 0;
    };
    if data.append(size, place) {
        size as u16
    } else {
        0
    }
}
