//! Where this kernel keeps things: the read-only global that the agent fills before loading.

use probe502_common::{ABSENT, Layout};

/// Filled by the agent; the verifier sees each member as a constant and prunes what it rules out.
#[unsafe(no_mangle)]
pub static LAYOUT: Layout = zerocopy::transmute!([0u8; size_of::<Layout>()]);

/// One member of [`LAYOUT`].
macro_rules! layout {
    ($member:ident) => {
        $crate::layout::member(&raw const $crate::layout::LAYOUT.$member)
    };
}
pub(crate) use layout;

/// Reads a member; volatile, because the compiler must not believe the zeros.
#[inline(always)]
pub fn member<T: Copy>(place: *const T) -> T {
    // SAFETY: called with members of a static only, by `layout!`.
    unsafe { core::ptr::read_volatile(place) }
}

/// Whether an answer with this status is to be reported.
#[inline(always)]
pub fn is_watched(status: u16) -> bool {
    let bit = status.wrapping_sub(400);
    if bit >= 256 {
        return false;
    }
    let words = layout!(statuses);
    let word = match bit >> 6 {
        0 => words[0],
        1 => words[1],
        2 => words[2],
        _ => words[3],
    };
    word >> (bit & 63) & 1 == 1
}

/// Whether this kernel has the member at this offset.
#[inline(always)]
pub fn exists(offset: u32) -> bool {
    offset != ABSENT
}
