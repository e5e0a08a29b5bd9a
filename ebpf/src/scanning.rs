//! Looking for the end of a header that came in many packets.

use aya_ebpf::{
    bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes, macros::map, maps::PerCpuArray,
};
use probe502_common::{HEAD, flag};

use crate::{connection::Connection, header, kernel::bounded, packets::Payload};

/// An answer that begins with a smaller packet is mostly whole with it; only where more comes is the
/// end of its header looked for.
const LARGE: u32 = 1024;
/// As many bytes are looked at in one go, for the end of a header.
const CHUNK: usize = 1024;
/// So much of one packet is looked at: the verifier walks all of it, at each start-up.
const DEEP: u32 = 4096;
/// So far it is looked for: HAProxy's buffer (`tune.bufsize`).
const FAR: u32 = 16384;

/// Where an answer's bytes are looked at: eight bytes of what came before, and a chunk.
#[map]
static SCRATCH: PerCpuArray<[u8; CHUNK + 8]> = PerCpuArray::with_max_entries(1, 0);

/// A heard message begins.
#[inline(always)]
pub fn begin(connection: &mut Connection, payload: &Payload) {
    connection.flags &= !(flag::HEADER_END_HEARD | flag::HEADER_SCANNED);
    connection.tail = [0; 4];
    connection.scanned = u32::from(connection.heard_head_length);
    if payload.length >= LARGE {
        connection.scanned = 0;
        connection.flags |= flag::HEADER_SCANNED;
    }
}

/// Looks for the header's end in a short first packet, once a second one has come: all that came
/// before is in the head.
#[inline(always)]
pub fn look_back(connection: &mut Connection) {
    let length = u32::from(connection.heard_head_length);
    let is_whole = connection.scanned == length && !connection.has(flag::HEADER_SCANNED);
    if !is_whole || length <= 4 || length >= HEAD as u32 {
        return;
    }
    connection.flags |= flag::HEADER_SCANNED;
    if header::ends_within(&connection.heard_head, length) {
        connection.flags |= flag::HEADER_END_HEARD;
    }
    let Some(last) = bounded(length - 4, HEAD as u32 - 4) else {
        return;
    };
    // SAFETY: four bytes within the head.
    connection.tail = unsafe {
        let place = connection.heard_head.as_ptr().add(last as usize);
        place.cast::<[u8; 4]>().read()
    };
}

/// Whether the end of the heard message's header is still looked for.
#[inline(always)]
pub fn is_on(connection: &Connection) -> bool {
    connection.has(flag::HEADER_SCANNED)
        && !connection.has(flag::HEADER_END_HEARD)
        && connection.scanned < FAR
}

/// How far into the message the header's end lies at most, where so much of a packet was looked at.
#[inline(always)]
fn found(connection: &Connection, payload: &Payload, done: u32) -> u32 {
    let first = connection.peer_isn.wrapping_add(1);
    let begun = first.wrapping_add(connection.received_mark as u32);
    let end = payload.sequence.wrapping_sub(begun).wrapping_add(done);
    // The socket's beginning was not seen: no more is known than what was looked at.
    if connection.peer_isn == 0 || end < connection.scanned {
        connection.scanned
    } else {
        end
    }
}

/// Looks for the end of a header in what came next (RFC 9112, 2.1).
#[inline(always)]
pub fn scan(packet: *mut __sk_buff, payload: &Payload, connection: &mut Connection) -> Option<()> {
    let place = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this processor's own element; the hook runs with softirqs held, so not twice at once.
    let bytes = unsafe { &mut *place };
    let mut done = 0;
    if !is_on(connection) {
        return None;
    }
    while done < DEEP {
        let size = bounded(payload.length.saturating_sub(done), CHUNK as u32)?;
        bytes[4..8].copy_from_slice(&connection.tail);
        let (to, from) = (bytes[8..].as_mut_ptr(), payload.offset + done);
        // SAFETY: at most CHUNK bytes go behind the first eight.
        let failed = unsafe { bpf_skb_load_bytes(packet.cast(), from, to.cast(), size) };
        if failed != 0 {
            return None;
        }
        connection.scanned += size;
        if header::ends_within(bytes, 8 + size) {
            connection.flags |= flag::HEADER_END_HEARD;
            connection.scanned = found(connection, payload, done + size);
            return None;
        }
        let last = bounded(size, CHUNK as u32)?;
        // SAFETY: four bytes before the chunk's end, which is `last` behind the first eight.
        connection.tail = unsafe {
            let place = bytes.as_ptr().add(4 + last as usize);
            place.cast::<[u8; 4]>().read()
        };
        // Nothing of the packet is left: said so for the verifier, which walks every path.
        if last < CHUNK as u32 {
            return None;
        }
        done += CHUNK as u32;
    }
    None
}
