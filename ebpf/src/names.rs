//! Name servers: which process asks one, and what comes back. A process's failed answer alone tells
//! of it.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, bpf_sock_addr},
    helpers::generated::{bpf_get_socket_cookie, bpf_skb_load_bytes},
    macros::map,
    maps::LruHashMap,
    programs::SockAddrContext,
};
use probe502_common::{Lookup, NAME, kind};

use crate::{connection, emit, kernel, packet};

/// DNS (RFC 1035, 4.2.1), as a port stands in memory.
pub const PORT: u16 = 53u16.to_be();
pub const IPPROTO_UDP: u32 = 17;
/// The UDP header's and the DNS message's fixed part (RFC 768; RFC 1035, 4.1.1).
const HEADERS: usize = 8 + 12;

/// Which process connected a UDP socket to a name server, by the socket's cookie. Full: the least
/// recently used is forgotten, and what it hears is not told.
#[map]
static ASKERS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(4096, 0);

/// What each process last heard. A kind of 0 in the header: nothing that was not told. Full: the
/// least recently used is forgotten.
#[map]
static LOOKUPS: LruHashMap<u32, Lookup> = LruHashMap::with_max_entries(1024, 0);

/// What a new element of [`LOOKUPS`] is made from.
static BLANK: Lookup = zerocopy::transmute!([0u8; size_of::<Lookup>()]);

/// A socket is connected: only those to name servers matter.
#[inline(always)]
pub fn asks(ctx: &SockAddrContext) -> Option<()> {
    let asked: *mut bpf_sock_addr = ctx.sock_addr;
    // SAFETY: the context is valid; the verifier turns this into reads of the call's own fields.
    let (protocol, port) = unsafe { ((*asked).protocol, (*asked).user_port) };
    if protocol != IPPROTO_UDP || port as u16 != PORT {
        return None;
    }
    // SAFETY: the context is valid.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let pid = kernel::tgid(kernel::current());
    // Full of busy processes: then this one's lookups are not known.
    let _ = ASKERS.insert(cookie, pid, 0);
    let lookup = of(pid)?;
    lookup.asked_at = connection::now();
    lookup.header.kind = kind::LOOKUP;
    None
}

/// The element of a process, made where there is none.
#[inline(always)]
fn of(pid: u32) -> Option<&'static mut Lookup> {
    let blank: &Lookup = &BLANK;
    let place = LOOKUPS.get_ptr_mut(pid).or_else(|| {
        LOOKUPS.insert(pid, blank, 0).ok()?;
        LOOKUPS.get_ptr_mut(pid)
    })?;
    // SAFETY: the element is whole; two processors that write it at once mix two lookups of one
    // process, each member being either's.
    let lookup = unsafe { &mut *place };
    lookup.pid = pid;
    Some(lookup)
}

/// A datagram from port 53 arrived on a connected UDP socket.
#[inline(always)]
pub fn heard(packet: *mut __sk_buff) -> Option<()> {
    // SAFETY: the context is valid.
    let cookie = unsafe { bpf_get_socket_cookie(packet.cast()) };
    // SAFETY: the value is copied at once.
    let pid = unsafe { *ASKERS.get_ptr(cookie)? };
    let ip: [u8; 8] = packet::read(packet, 0)?;
    let start = match ip[0] >> 4 {
        4 => u32::from(ip[0] & 15) * 4,
        6 if ip[6] == 17 => 40,
        _ => return None,
    };
    let headers: [u8; HEADERS] = packet::read(packet, start)?;
    // The response bit, the code, the number of records (RFC 1035, 4.1.1).
    if headers[10] & 0x80 == 0 {
        return None;
    }
    let (code, records) = (headers[11] & 15, (headers[14], headers[15]));
    let lookup = of(pid)?;
    lookup.heard_at = connection::now();
    lookup.header.kind = kind::LOOKUP;
    if code != 0 {
        lookup.failed_at = lookup.heard_at;
        lookup.code = u16::from(code);
        lookup.name_length = name(packet, start + HEADERS as u32, &mut lookup.name);
    } else if records != (0, 0) {
        lookup.good_at = lookup.heard_at;
    }
    None
}

/// Copies the question's name; returns how many bytes.
#[inline(always)]
fn name(packet: *mut __sk_buff, offset: u32, to: &mut [u8; NAME]) -> u16 {
    // SAFETY: the context is valid.
    let rest = unsafe { (*packet).len }.saturating_sub(offset);
    let Some(size) = kernel::bounded(rest, NAME as u32) else {
        return 0;
    };
    // SAFETY: at most as many bytes as there is room for.
    let failed = unsafe { bpf_skb_load_bytes(packet.cast(), offset, to.as_mut_ptr().cast(), size) };
    if failed == 0 { size as u16 } else { 0 }
}

/// The running process's failed answer leaves: first what its name servers said.
#[inline(always)]
pub fn tell() {
    let pid = kernel::tgid(kernel::current());
    let Some(place) = LOOKUPS.get_ptr_mut(pid) else {
        return;
    };
    // SAFETY: as in `of`.
    let lookup = unsafe { &mut *place };
    // What ended well needs no telling: it takes back a failure that was told.
    if lookup.header.kind != 0 && (lookup.failed_at != 0 || lookup.heard_at < lookup.asked_at) {
        lookup.header = connection::header::<Lookup>(kind::LOOKUP, 0);
        emit::send(kind::LOOKUP, lookup);
        lookup.header.kind = 0;
    }
}
