//! Packets that a firewall dropped (`kfree_skb` with `SKB_DROP_REASON_NETFILTER_DROP`).

use core::ffi::c_void;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use probe502_common::{Drop, kind};

use crate::{connection, emit, headers, kernel::Kernel, layout::layout};

#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb(ctx: BtfTracePointContext) -> i32 {
    // The commonest way out comes first: this hook runs for every dropped packet of the host.
    if ctx.arg::<u32>(2) == layout!(netfilter_drop) {
        dropped(ctx.arg(0), ctx.arg(2));
    }
    0
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
        record.arrived = u8::from(headers::has_arrived(packet));
        record.padding = [0; 6];
    });
    None
}
