//! Looking for the end of a message's header: an empty line (RFC 9112, 2.1).

use crate::words::equal;

/// Whether an empty line ends within the first `length` bytes.
#[inline(always)]
pub fn ends_within<const N: usize>(bytes: &[u8; N], length: u32) -> bool {
    let mut index = 8;
    // The first eight bytes of a message hold no end: a status line is longer.
    while index + 8 <= N {
        if length <= index as u32 {
            return false;
        }
        let left = length - index as u32;
        let beyond = if left >= 8 { 0 } else { u64::MAX << (left * 8) };
        let (here, before) = (word(bytes, index), word(bytes, index - 1));
        let line_before = equal(word(bytes, index - 2), b'\n');
        let empty = equal(before, b'\n') | (equal(before, b'\r') & line_before);
        if equal(here, b'\n') & empty & !beyond != 0 {
            return true;
        }
        index += 8;
    }
    false
}

#[inline(always)]
fn word<const N: usize>(bytes: &[u8; N], index: usize) -> u64 {
    // SAFETY: every caller stays eight bytes below N.
    u64::from_le(unsafe { bytes.as_ptr().add(index).cast::<u64>().read_unaligned() })
}
