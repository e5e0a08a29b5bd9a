//! System calls on sockets that failed (`sys_exit`). Attached for a while only, when something asks
//! for it: any hook here makes every system call of every task dearer.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_user, bpf_task_pt_regs},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use probe502_common::{Call, PATH, call, kind};

use crate::{
    connection, emit,
    kernel::{self, Kernel},
    layout::layout,
};

/// The last errno (`MAX_ERRNO`).
const LAST: i64 = -4095;
/// In progress, interrupted or nothing to take: no failures (errno(3)).
const EAGAIN: i64 = -11;
const EINTR: i64 = -4;
const EINPROGRESS: i64 = -115;
const EALREADY: i64 = -114;
const EISCONN: i64 = -106;

#[btf_tracepoint(function = "sys_exit")]
pub fn call_failed(ctx: BtfTracePointContext) -> i32 {
    let result: i64 = ctx.arg(1);
    if (LAST..0).contains(&result) {
        failed(Kernel::at(ctx.arg(0)), result);
    }
    0
}

#[inline(always)]
fn failed(registers: Option<Kernel>, result: i64) -> Option<()> {
    let registers = registers?;
    let number = registers.read::<u64>(layout!(regs_number))? as u32;
    let which = match number {
        _ if number == layout!(call_connect) => call::CONNECT,
        _ if number == layout!(call_socket) => call::SOCKET,
        _ if number == layout!(call_accept) || number == layout!(call_accept4) => call::ACCEPT,
        _ => return None,
    };
    let is_none = match result {
        EINTR | EINPROGRESS | EALREADY | EISCONN => true,
        // A UNIX listener's queue is full, which `connect(2)` says so.
        EAGAIN => which != call::CONNECT,
        _ => false,
    };
    if is_none {
        return None;
    }
    emit::write::<Call>(kind::CALL, |record| {
        record.header = connection::header::<Call>(kind::CALL, 0);
        kernel::write_task(kernel::current(), &mut record.task);
        record.which = which;
        record.errno = (-result) as u32;
        record.padding = 0;
        record.address = [0; PATH];
        record.address_length = if which == call::CONNECT {
            address(registers, &mut record.address).unwrap_or(0)
        } else {
            0
        };
    });
    None
}

#[inline(always)]
fn address(registers: Kernel, to: &mut [u8; PATH]) -> Option<u32> {
    let place: u64 = registers.read(layout!(regs_second))?;
    let length: u64 = registers.read(layout!(regs_third))?;
    write_user(place, length as u32, to)
}

/// Copies at most `N` bytes of the running task's own memory; returns how many.
#[inline(always)]
pub fn write_user<const N: usize>(from: u64, length: u32, to: &mut [u8; N]) -> Option<u32> {
    let size = kernel::bounded(length, N as u32)?;
    // SAFETY: at most N bytes go into an array of N; the helper checks the source.
    let failed = unsafe { bpf_probe_read_user(to.as_mut_ptr().cast(), size, from as *const _) };
    (failed == 0).then_some(size)
}

/// The registers with which the running task entered the kernel.
#[inline(always)]
pub fn registers() -> Option<Kernel> {
    // SAFETY: the helpers have no preconditions; the second takes what the first gives.
    let registers = unsafe {
        let task = bpf_get_current_task_btf();
        bpf_task_pt_regs(task)
    };
    Kernel::at(registers as *const _)
}
