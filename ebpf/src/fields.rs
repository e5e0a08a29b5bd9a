//! Looking through a header for the two fields that say where the body ends (RFC 9112, 6.3).

use probe502_common::framing;

use crate::body::Body;

/// So much of an answer is looked at for its header: the verifier walks all of it at each start-up.
pub const LOOK: usize = 1536;
/// A power of two that holds it.
const ROOM: usize = 2048;
/// The longest name that is looked for, and its value.
const BEHIND: usize = 64;
/// So many fields with the same initials are looked at: of more nothing is known.
const LINES: usize = 16;
/// Digits of a length that is believed.
const DIGITS: usize = 12;
const LENGTH: [u64; 2] = [word(b"content-"), word(b"length:\0")];
const CODING: [u64; 2] = [word(b"transfer"), word(b"-encodin")];
/// Another coding: its body's end shows in nothing.
const OTHER: u32 = 1 << 31;

/// Where a header is looked at, and what was found.
#[repr(C)]
pub struct Look {
    pub bytes: [u8; ROOM + BEHIND],
    /// Where lines begin that may be one of the two fields.
    pub lines: [u32; LINES],
    pub count: u32,
    /// Behind the header, 0 not found.
    pub end: u32,
    /// 1 where another program of this processor is at it.
    pub busy: u32,
}

/// Finds where lines begin, and the header's end. What is found goes to the map: the verifier then has
/// one state for each byte, whatever was found before. Behind `size` lie another answer's bytes.
#[inline(always)]
pub fn find_lines(look: &mut Look, size: u32) {
    let mut index = 0;
    while index < LOOK {
        if look.bytes[index] == b'\n' {
            let behind = ended(look, index);
            if behind != 0 {
                look.end = if behind <= size { behind } else { 0 };
                return;
            }
            // `Content-Length`, `Transfer-Encoding`.
            if matches!(look.bytes[index + 1] | 0x20, b'c' | b't') {
                let place = look.count as usize & (LINES - 1);
                look.lines[place] = index as u32 + 1;
                look.count += 1;
            }
        }
        index += 1;
    }
}

/// Behind an empty line that follows this line's end, or 0.
#[inline(always)]
fn ended(look: &Look, at: usize) -> u32 {
    match look.bytes[at + 1] {
        b'\n' => at as u32 + 2,
        b'\r' if look.bytes[at + 2] == b'\n' => at as u32 + 3,
        _ => 0,
    }
}

/// Eight bytes, in small letters.
#[inline(always)]
fn lower(look: &Look, at: usize) -> u64 {
    // SAFETY: every caller stays below ROOM by some bytes, and BEHIND bytes follow it.
    let word = unsafe { look.bytes.as_ptr().add(at).cast::<u64>().read_unaligned() };
    u64::from_le(word) | FOLD
}

/// What turns capitals into small letters, and leaves the small ones, the hyphen and the colon.
const FOLD: u64 = 0x2020_2020_2020_2020;

/// As [`lower`] reads it; NUL bytes stand for what is cut off.
const fn word(text: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*text)
}

/// Only a header that was seen as a whole tells.
#[inline(always)]
pub fn learn(look: &Look, body: &mut Body) {
    if look.end == 0 || look.count > LINES as u32 {
        return;
    }
    body.header = look.end;
    let mut index = 0;
    while index < LINES {
        if index as u32 >= look.count {
            return;
        }
        read_field(look, look.lines[index] as usize & (ROOM - 1), body);
        index += 1;
    }
}

/// A field that may be one of the two. Who says both means chunks (RFC 9112, 6.3), and what is no plain
/// value leaves the body's end unknown.
#[inline(always)]
fn read_field(look: &Look, at: usize, body: &mut Body) {
    let (first, second) = (lower(look, at), lower(look, at + 8));
    if first == LENGTH[0] && second & (u64::MAX >> 8) == LENGTH[1] {
        if body.framing == 0
            && let Some(length) = number(look, at + 15)
        {
            body.length = length;
            body.framing = framing::LENGTH;
        }
    } else if first == CODING[0] && second == CODING[1] {
        body.framing = if is_chunked(look, at + 16) {
            framing::CHUNKED
        } else {
            OTHER
        };
    }
}

/// `g: chunked`, and nothing else.
#[inline(always)]
fn is_chunked(look: &Look, at: usize) -> bool {
    let blank = usize::from(look.bytes[at + 2] == b' ');
    // The line's end, folded.
    look.bytes[at + 1] == b':' && lower(look, at + 2 + blank) == word(b"chunked-")
}

/// A field's number, where nothing else stands there.
#[inline(always)]
fn number(look: &Look, at: usize) -> Option<u64> {
    let at = at + usize::from(look.bytes[at] == b' ');
    let (mut value, mut digits) = (0u64, 0);
    while digits < DIGITS {
        let byte = look.bytes[at + digits];
        if !byte.is_ascii_digit() {
            return (digits > 0 && byte == b'\r').then_some(value);
        }
        value = value * 10 + u64::from(byte - b'0');
        digits += 1;
    }
    None
}
