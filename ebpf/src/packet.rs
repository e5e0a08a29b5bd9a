//! One packet: how it begins, and copies of its bytes.

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes};

/// How a TCP packet begins.
pub struct Start {
    pub is_v4: bool,
    /// Where its TCP header begins.
    pub tcp: u32,
    pub source_port: [u8; 2],
    pub target_port: [u8; 2],
    pub sequence: u32,
    /// The flags byte (RFC 9293, 3.1).
    pub flags: u8,
    /// Where its payload begins.
    pub offset: u32,
}

#[inline(always)]
pub fn start(packet: *mut __sk_buff) -> Option<Start> {
    let ip: [u8; 8] = read(packet, 0)?;
    let (tcp, is_v4) = match ip[0] >> 4 {
        4 => (u32::from(ip[0] & 15) * 4, true),
        // IPv6 with extension headers before TCP is not followed: hosts do not send such.
        6 if ip[6] == 6 => (40, false),
        _ => return None,
    };
    // Up to the flags and the window (RFC 9293, 3.1).
    let header: [u8; 16] = read(packet, tcp)?;
    Some(Start {
        is_v4,
        tcp,
        source_port: [header[0], header[1]],
        target_port: [header[2], header[3]],
        sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        flags: header[13],
        offset: tcp + u32::from(header[12] >> 4) * 4,
    })
}

/// The packet's two addresses, IPv4's mapped (RFC 4291, 2.5.5.2).
#[inline(always)]
pub fn write_addresses(
    packet: *mut __sk_buff,
    start: &Start,
    source: &mut [u8; 16],
    target: &mut [u8; 16],
) {
    if start.is_v4 {
        (*source, *target) = ([0; 16], [0; 16]);
        (source[10], source[11]) = (0xff, 0xff);
        (target[10], target[11]) = (0xff, 0xff);
        load_into(packet, 12, &raw mut source[12], 4);
        load_into(packet, 16, &raw mut target[12], 4);
    } else {
        load_into(packet, 8, source.as_mut_ptr(), 16);
        load_into(packet, 24, target.as_mut_ptr(), 16);
    }
}

/// Copies bytes of the packet to their place in a record; what is not there stays as it was.
#[inline(always)]
pub fn load_into(packet: *mut __sk_buff, offset: u32, to: *mut u8, size: u32) {
    // SAFETY: every caller has `size` bytes of room; the verifier checks it.
    unsafe { bpf_skb_load_bytes(packet.cast(), offset, to.cast(), size) };
}

#[inline(always)]
pub fn read<T: Copy>(packet: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    let size = size_of::<T>() as u32;
    // SAFETY: the helper writes `size` bytes into a `T`, or fails.
    let failed =
        unsafe { bpf_skb_load_bytes(packet.cast(), offset, value.as_mut_ptr().cast(), size) };
    // SAFETY: on success all bytes are written; `T` is an array of bytes.
    (failed == 0).then(|| unsafe { value.assume_init() })
}
