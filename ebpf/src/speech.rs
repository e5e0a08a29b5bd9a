//! What listeners speak, learned from their connections' first answers: TLS, or HTTP/1 in clear.

use aya_ebpf::{macros::map, maps::LruHashMap};
use probe502_common::{flag, role};

use crate::connection::Connection;

/// An address that connections were accepted on.
#[repr(C)]
struct Place {
    local: [u8; 16],
    port: [u8; 2],
    padding: [u8; 2],
    netns: u32,
}

/// Bits of `Flow::flags` by address. Full: the least recently used one is forgotten.
#[map]
static SPEECH: LruHashMap<Place, u16> = LruHashMap::with_max_entries(1024, 0);

/// Notes what an accepted connection's first answer is.
#[inline(always)]
pub fn learn(connection: &Connection) {
    if connection.role != role::ACCEPTED || connection.said != 1 {
        return;
    }
    let spoken = match connection.said_head {
        // An alert or a handshake (RFC 8446, 5.1).
        [21 | 22, 3, ..] => flag::SPEAKS_TLS,
        [b'H', b'T', b'T', b'P', b'/', ..] => flag::SPEAKS_HTTP,
        _ => return,
    };
    let place = place(connection);
    if let Some(known) = SPEECH.get_ptr_mut(&place) {
        // SAFETY: the element stays readable and writable while the program runs, and a bit that a
        // race loses is set by the next connection.
        unsafe { *known |= spoken };
    } else {
        // Full: then it is not known.
        let _ = SPEECH.insert(&place, spoken, 0);
    }
}

/// What is known of the address that a connection was accepted on.
#[inline(always)]
pub fn of(connection: &Connection) -> u16 {
    if connection.role != role::ACCEPTED {
        return 0;
    }
    // SAFETY: the element stays readable while the program runs.
    unsafe { SPEECH.get(place(connection)) }.map_or(0, |spoken| *spoken)
}

#[inline(always)]
fn place(connection: &Connection) -> Place {
    Place {
        local: connection.tuple.local,
        port: connection.tuple.local_port,
        padding: [0; 2],
        netns: connection.netns,
    }
}
