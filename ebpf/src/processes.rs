//! Processes that end, signals that can end them, and the OOM killer's choices.

use core::ffi::c_void;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use probe502_common::{Death, Signal, Victim, kind};

use crate::{
    connection, emit,
    kernel::{self, Kernel},
    layout::layout,
    order,
};

/// `SEND_SIG_NOINFO` (from a process) and `SEND_SIG_PRIV` (from the kernel), instead of a pointer.
const NO_INFO: u64 = 0;
const FROM_KERNEL: u64 = 1;
/// `SI_KERNEL`.
const SI_KERNEL: i32 = 0x80;

/// HUP INT QUIT ILL TRAP ABRT BUS FPE KILL SEGV TERM XCPU XFSZ SYS: those that end a process by
/// default and that people, masters, runtimes and the kernel end one with.
const ENDING: u32 = 1 << 1
    | 1 << 2
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 7
    | 1 << 8
    | 1 << 9
    | 1 << 11
    | 1 << 15
    | 1 << 24
    | 1 << 25
    | 1 << 31;

#[btf_tracepoint(function = "sched_process_exit")]
pub fn process_exit(ctx: BtfTracePointContext) -> i32 {
    exited(ctx.arg(0));
    0
}

#[btf_tracepoint(function = "signal_generate")]
pub fn signal_sent(ctx: BtfTracePointContext) -> i32 {
    signalled(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

#[btf_tracepoint(function = "mark_victim")]
pub fn oom_victim(ctx: BtfTracePointContext) -> i32 {
    chosen(ctx.arg(0));
    0
}

/// The last thread of a process to go speaks for it (`signal->live` has fallen to 0 by then).
#[inline(always)]
fn exited(task: *const c_void) -> Option<()> {
    let task = Kernel::at(task)?;
    let live: u32 = task
        .follow(layout!(task_signal))?
        .read(layout!(signal_live))?;
    let answered_at = order::forget(kernel::tid(task), kernel::tgid(task), live == 0);
    if live != 0 {
        return None;
    }
    let code = task.read(layout!(task_exit_code))?;
    emit::write::<Death>(kind::DEATH, |record| {
        record.header = connection::header::<Death>(kind::DEATH, 0);
        kernel::write_task(task, &mut record.task);
        record.code = code;
        record.padding = [0; 4];
        record.answered_at = answered_at;
    });
    None
}

#[inline(always)]
fn signalled(number: u32, info: u64, target: *const c_void) -> Option<()> {
    if number >= 32 || ENDING >> (number & 31) & 1 == 0 {
        return None;
    }
    let code = match info {
        NO_INFO => 0,
        FROM_KERNEL => SI_KERNEL,
        pointer => Kernel::at(pointer as *const c_void)?.read(layout!(siginfo_code))?,
    };
    let target = Kernel::at(target)?;
    emit::write::<Signal>(kind::SIGNAL, |record| {
        record.header = connection::header::<Signal>(kind::SIGNAL, 0);
        kernel::write_task(kernel::current(), &mut record.sender);
        kernel::write_task(target, &mut record.target);
        record.number = number;
        record.code = code;
    });
    None
}

#[inline(always)]
fn chosen(argument: u64) -> Option<()> {
    let pid = if layout!(victim_is_task) == 1 {
        Kernel::at(argument as *const c_void)?.read(layout!(task_tgid))?
    } else {
        argument as u32
    };
    emit::write::<Victim>(kind::VICTIM, |record| {
        record.header = connection::header::<Victim>(kind::VICTIM, 0);
        record.pid = pid;
        record.padding = [0; 4];
    });
    None
}
