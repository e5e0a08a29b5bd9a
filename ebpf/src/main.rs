//! The kernel programs: each hook is a doorway that reports one fact and concludes nothing.
#![no_std]
#![no_main]

mod afterwards;
mod bodies;
mod body;
mod calls;
mod connection;
mod deferred;
mod dials;
mod drops;
mod emit;
mod fields;
mod header;
mod headers;
mod kernel;
mod layout;
mod logged;
mod messages;
mod moment;
mod names;
mod order;
mod overflows;
mod packet;
mod packets;
mod processes;
mod resets;
mod scanning;
mod speech;
mod states;
mod threads;
mod tls;
mod tries;
mod turns;
mod unix;
mod unix_dials;
mod unix_heads;
mod unix_waiting;
mod words;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Kernel helpers that need it (`bpf_probe_read_kernel` and others) check for this string.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
