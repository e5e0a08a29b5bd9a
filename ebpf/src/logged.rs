//! What the kernel logs of an OOM kill, as it logs it: where /dev/kmsg cannot be read, in a pod.

use core::ffi::c_void;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use probe502_common::{LogLine, kind};

use crate::{connection, emit, kernel::Kernel};

/// How the lines begin that tell whose limit was met and whom it ended (`mm/oom_kill.c`,
/// `mm/memcontrol.c`): a line that is continued comes in its pieces.
const TOLD: [u64; 5] = [
    u64::from_ne_bytes(*b"memory: "),
    u64::from_ne_bytes(*b"oom-kill"),
    u64::from_ne_bytes(*b",oom_mem"),
    u64::from_ne_bytes(*b"Memory c"),
    u64::from_ne_bytes(*b"Out of m"),
];

#[btf_tracepoint(function = "console")]
pub fn log_line(ctx: BtfTracePointContext) -> i32 {
    told(ctx.arg(0), ctx.arg(1));
    0
}

#[inline(always)]
fn told(text: *const c_void, length: u64) -> Option<()> {
    let text = Kernel::at(text)?;
    let mut start = [0; 8];
    text.write_bytes(length as u32, &mut start)?;
    // A piece of its own is the cgroup's path.
    if start[0] != b'/' && !TOLD.contains(&u64::from_ne_bytes(start)) {
        return None;
    }
    emit::write::<LogLine>(kind::LOG_LINE, |record| {
        record.header = connection::header::<LogLine>(kind::LOG_LINE, 0);
        let told = text.write_bytes(length as u32, &mut record.text);
        record.length = told.unwrap_or(0);
        record.padding = [0; 4];
    });
    None
}
