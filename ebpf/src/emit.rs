//! The one way out: every record leaves through here, and every loss is counted here.

use aya_ebpf::{
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use probe502_common::kind::LOST;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The reader drains on a timer: a wake-up would cost more than the record (`BPF_RB_NO_WAKEUP`).
const NO_WAKEUP: u64 = 1;

/// 8 MiB: some 7,500 refused dials with their answers between two drains. Full: the record is lost and counted.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// How many records of each kind left, by the kind's number; and [`LOST`] behind that, how many were lost.
#[map]
static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(2 * LOST as u32, 0);

/// Sends a record that `write` fills in place; a full ring loses it.
#[inline(always)]
pub fn write<T: FromBytes + 'static>(kind: u16, write: impl FnOnce(&mut T)) {
    write_kind(kind, |record| {
        write(record);
        kind
    });
}

/// The same where `write` is long and becomes a function of its own: it returns the kind again, because
/// the verifier refuses what such a function leaves where a number would be, if that is an address.
#[inline(always)]
pub fn write_kind<T: FromBytes + 'static>(kind: u16, write: impl FnOnce(&mut T) -> u16) {
    let Some(mut room) = EVENTS.reserve::<T>(0) else {
        count(LOST + kind);
        return;
    };
    // SAFETY: a whole `T` of the ring, ours alone until it is submitted; every bit pattern is a `T`.
    let kind = write(unsafe { room.assume_init_mut() });
    room.submit(NO_WAKEUP);
    count(kind);
}

/// Sends a record that a map keeps.
#[inline(always)]
pub fn send<T: IntoBytes + Immutable + 'static>(kind: u16, record: &T) {
    let sent = EVENTS.output::<T>(record, NO_WAKEUP).is_ok();
    count(if sent { kind } else { LOST + kind });
}

/// Something happened of which nothing can be told: counted as a loss of its `kind`.
#[inline(always)]
pub fn miss(kind: u16) {
    count(LOST + kind);
}

#[inline(always)]
fn count(kind: u16) {
    if let Some(counter) = COUNTS.get_ptr_mut(u32::from(kind)) {
        // SAFETY: the pointer is this processor's own element of the array.
        unsafe { *counter += 1 };
    }
}
