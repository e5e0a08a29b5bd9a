//! Eight bytes at a time and without a branch among them: the verifier walks every path, and a hot hook
//! every byte.

const ONES: u64 = 0x0101_0101_0101_0101;
const LOW: u64 = ONES * 0x7f;
const HIGH: u64 = ONES * 0x80;
/// No blank is among the first three bytes: no method is shorter (RFC 9110, 9.3).
const METHOD: u64 = 0x80_8080;
/// `HTTP/`, and where it stands.
const HTTP: u64 = 0x2f_5054_5448;
const FIVE: u64 = 0xff_ffff_ffff;

/// The first sixteen bytes of a message, where words can be read.
#[repr(C, align(8))]
pub struct Peek(pub [u8; 16]);

/// The word at the beginning of bytes that lie at a multiple of eight.
#[inline(always)]
pub fn first<const N: usize>(bytes: &[u8; N]) -> u64 {
    const { assert!(N >= 16) };
    // SAFETY: within the bytes. They are a head within a structure of words, or a `Peek`.
    u64::from_le(unsafe { bytes.as_ptr().cast::<u64>().read() })
}

/// The word after it.
#[inline(always)]
fn second<const N: usize>(bytes: &[u8; N]) -> u64 {
    const { assert!(N >= 16) };
    // SAFETY: as above.
    u64::from_le(unsafe { bytes.as_ptr().cast::<u64>().add(1).read() })
}

/// The highest bit of each byte that equals `byte`, exactly.
#[inline(always)]
pub const fn equal(word: u64, byte: u8) -> u64 {
    let zeros = word ^ (ONES * byte as u64);
    !(((zeros & LOW) + LOW) | zeros | LOW)
}

/// The highest bit of each byte that is a capital.
#[inline(always)]
const fn capitals(word: u64) -> u64 {
    let from_a = (word & LOW) + ONES * (0x80 - b'A' as u64);
    let after_z = (word & LOW) + ONES * (0x80 - (b'Z' as u64 + 1));
    from_a & !after_z & !word & HIGH
}

/// All bits below the lowest that is set; all where none is.
#[inline(always)]
const fn below(bits: u64) -> u64 {
    bits.wrapping_sub(1) & !bits
}

/// Whether bytes begin with a method in capitals, a blank, and a path.
#[inline(always)]
pub fn begin_request<const N: usize>(bytes: &[u8; N]) -> bool {
    let (word, next) = (first(bytes), second(bytes));
    let blanks = equal(word, b' ');
    let blank = blanks & blanks.wrapping_neg();
    let odd = !capitals(word) & HIGH & below(blanks);
    // Each byte's successor.
    let path = equal(word >> 8 | next << 56, b'/');
    (odd | (blanks & METHOD)) == 0 && blank & path != 0
}

/// Whether bytes begin with a word in capitals, dashes among them, and a blank.
#[inline(always)]
pub fn name_method<const N: usize>(bytes: &[u8; N]) -> bool {
    let (word, next) = (first(bytes), second(bytes));
    let odd = |word: u64| !(capitals(word) | equal(word, b'-')) & HIGH;
    let (blanks, more) = (equal(word, b' '), equal(next, b' '));
    if blanks != 0 {
        return ((odd(word) & below(blanks)) | (blanks & METHOD)) == 0;
    }
    (odd(word) | (odd(next) & below(more))) == 0 && more != 0
}

/// Whether bytes begin as a status line (RFC 9112, 4).
#[inline(always)]
pub fn begin_answer<const N: usize>(bytes: &[u8; N]) -> bool {
    (((first(bytes) ^ HTTP) & FIVE) | u64::from(bytes[8] ^ b' ')) == 0
}
