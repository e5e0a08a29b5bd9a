//! Packets that were dropped on purpose, or because no neighbour answered (`kfree_skb`).

use core::ffi::c_void;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use probe502_common::{Drop, kind};

use crate::{connection, emit, headers, kernel::Kernel, layout::layout};

#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb(ctx: BtfTracePointContext) -> i32 {
    // The commonest way out comes first: this hook runs for every dropped packet of the host.
    if is_told(ctx.arg(2)) {
        dropped(ctx.arg(0), ctx.arg(2));
    }
    0
}

#[inline(always)]
fn is_told(reason: u32) -> bool {
    let words = layout!(drop_reasons);
    match reason {
        0..64 => words[0] >> reason & 1 == 1,
        64..128 => words[1] >> (reason - 64) & 1 == 1,
        _ => false,
    }
}

#[inline(always)]
fn dropped(packet: *const c_void, reason: u32) -> Option<()> {
    let packet = Kernel::at(packet)?;
    let headers = headers::Headers::of(packet)?;
    emit::write::<Drop>(kind::DROP, |record| {
        record.header = connection::header::<Drop>(kind::DROP, headers::netns(packet));
        headers.write_tuple(&mut record.tuple);
        record.reason = reason;
        record.tcp_flags = headers.tcp_flags();
        record.sequence = headers.sequence();
        record.acknowledges = headers.acknowledges();
        record.arrived = u8::from(headers::has_arrived(packet));
        record.padding = [0; 2];
    });
    None
}
