//! Under `--silent`: where answers' bodies begin, how long they are to be, and how they end.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_probe_read_user, bpf_sk_fullsock, bpf_skb_load_bytes},
    macros::{btf_tracepoint, cgroup_skb, map},
    maps::PerCpuArray,
    programs::{BtfTracePointContext, SkBuffContext},
};
use probe502_common::role;

use crate::{
    body::{self, Body},
    connection::{self, Connection},
    fields::{LOOK, Look, find_lines, learn},
    header,
    kernel::{Kernel, Sock, bounded},
    layout::layout,
    messages::{IOVEC_LENGTH, IOVEC_SIZE},
    packet::read,
    packets::{self, Payload},
};

/// The last pieces of a vectored write that are looked at.
const PIECES: u64 = 4;

/// One for each direction.
#[map]
static LOOKS: PerCpuArray<Look> = PerCpuArray::with_max_entries(2, 0);

#[cgroup_skb(ingress)]
pub fn body_in(ctx: SkBuffContext) -> i32 {
    seen(ctx.skb.skb, role::DIALLED);
    1
}

#[cgroup_skb(egress)]
pub fn body_out(ctx: SkBuffContext) -> i32 {
    seen(ctx.skb.skb, role::ACCEPTED);
    1
}

/// What was written last may wait for more (`MSG_MORE`), and leave behind its connection's end.
#[btf_tracepoint(function = "tcp_sendmsg_locked")]
pub fn body_said(ctx: BtfTracePointContext) -> i32 {
    said(ctx.arg(0), ctx.arg(1));
    0
}

/// A packet of an answer.
#[inline(always)]
fn seen(packet: *mut __sk_buff, role: u8) -> Option<()> {
    // SAFETY: the context is valid; the verifier turns this into a read of `skb->sk`.
    let socket = unsafe { (*packet).__bindgen_anon_2.sk };
    if socket.is_null() {
        return None;
    }
    // SAFETY: not null; the helper answers null for a request or TIME_WAIT socket.
    let full = unsafe { bpf_sk_fullsock(socket) };
    if full.is_null() {
        return None;
    }
    let connection = connection::of(full.cast())?;
    if connection.role != role {
        return None;
    }
    let begun = body::begun(connection)?;
    let payload = packets::payload(packet)?;
    if payload.sequence == begun {
        let is_new = connection.body.begun != begun || connection.body.header == 0;
        if is_new && is_worth_a_look(connection, begun, payload.length) {
            look(
                connection,
                u32::from(role == role::DIALLED),
                payload.length,
                &|to, size| {
                    // SAFETY: `size` is what the place has room for.
                    let failed =
                        unsafe { bpf_skb_load_bytes(packet.cast(), payload.offset, to, size) };
                    failed == 0
                },
            );
        }
    }
    note_end(packet, &payload, &mut connection.body)
}

/// An answer begins; whether its header is not kept as a whole.
#[inline(always)]
fn is_worth_a_look(connection: &mut Connection, begun: u32, length: u32) -> bool {
    let body = &mut connection.body;
    (body.begun, body.framing, body.header) = (begun, 0, 0);
    let (head, kept) = if connection.role == role::DIALLED {
        (&connection.heard_head, connection.heard_head_length)
    } else {
        (&connection.said_head, connection.said_head_length)
    };
    // Of a write in pieces the first one is kept.
    head[0] == b'H' && length > kept.into() && !header::ends_within(head, kept.into())
}

/// Looks through what an answer begins with.
#[inline(always)]
fn look(
    connection: &mut Connection,
    place: u32,
    length: u32,
    load: &impl Fn(*mut c_void, u32) -> bool,
) -> Option<()> {
    let place = LOOKS.get_ptr_mut(place)?;
    // SAFETY: this processor's own element, which `busy` keeps for one program.
    let look = unsafe { &mut *place };
    if look.busy == 1 {
        return None;
    }
    look.busy = 1;
    (look.count, look.end) = (0, 0);
    if let Some(size) = bounded(length, LOOK as u32)
        && load(look.bytes.as_mut_ptr().cast(), size)
    {
        find_lines(look, size);
        learn(look, &mut connection.body);
    }
    look.busy = 0;
    None
}

/// Notes the last bytes; of what is sent again, nothing.
#[inline(always)]
fn note_end(packet: *mut __sk_buff, payload: &Payload, body: &mut Body) -> Option<()> {
    let end = payload.sequence.wrapping_add(payload.length);
    if body.ends == 1 && (end.wrapping_sub(body.end) as i32) <= 0 {
        return None;
    }
    let follows = body.ends == 1 && payload.sequence == body.end;
    body.ends = 0;
    let mut last = body.last;
    if payload.length >= 4 {
        last = u32::from_be_bytes(read(packet, payload.offset + payload.length - 4)?);
    } else if follows {
        let mut index = 0;
        while index < 3 {
            if index < payload.length {
                let [byte]: [u8; 1] = read(packet, payload.offset + index)?;
                last = last << 8 | u32::from(byte);
            }
            index += 1;
        }
    } else {
        return None;
    }
    (body.last, body.end, body.ends) = (last, end, 1);
    None
}

/// A server writes: the last bytes of it.
#[inline(always)]
fn said(socket: *const c_void, message: *const c_void) -> Option<()> {
    let connection = connection::of(socket)?;
    if connection.role != role::ACCEPTED {
        return None;
    }
    let written = Sock::at(socket)?.tcp()?.written();
    let iterator = Kernel::at(message)?.plus(u64::from(layout!(msg_iter)));
    let count: u64 = iterator.read(layout!(iter_count))?;
    if connection.said > 0 && connection.said_mark == written {
        look_at_written(connection, iterator, count);
    }
    let body = &mut connection.body;
    let before = if body.ends == 1 && body.end == written {
        Some(body.last)
    } else {
        None
    };
    body.ends = 0;
    let (mut last, have) = last_of(iterator, count)?;
    if have < 4 {
        // Of less than all of a write, the bytes before are not those of the write before.
        if have as u64 != count {
            return None;
        }
        last |= before? << (8 * (have & 3));
    }
    (body.last, body.end, body.ends) = (last, written.wrapping_add(count as u32), 1);
    None
}

/// An answer begins with what is written.
#[inline(always)]
fn look_at_written(connection: &mut Connection, iterator: Kernel, count: u64) -> Option<()> {
    let kind = u32::from(iterator.read::<u8>(layout!(iter_type))?);
    let base: u64 = iterator.read(layout!(iter_iov))?;
    let (base, length) = if kind == layout!(iter_ubuf) {
        (base, count)
    } else if kind == layout!(iter_iovec) {
        let piece = Kernel::at(base as *const c_void)?;
        (piece.read(0)?, piece.read(IOVEC_LENGTH)?)
    } else {
        return None;
    };
    let length = if length > LOOK as u64 {
        LOOK as u32
    } else {
        length as u32
    };
    if is_worth_a_look(connection, connection.said_mark, length) {
        look(connection, 0, length, &|to, size| {
            // SAFETY: `size` is what the place has room for; the helper checks the source.
            let failed = unsafe { bpf_probe_read_user(to, size, base as *const _) };
            failed == 0
        });
    }
    None
}

/// The last bytes of what is written, and how many of them are known.
#[inline(always)]
fn last_of(iterator: Kernel, count: u64) -> Option<(u32, u32)> {
    let kind = u32::from(iterator.read::<u8>(layout!(iter_type))?);
    let skip: u64 = iterator.read(layout!(iter_offset))?;
    let base: u64 = iterator.read(layout!(iter_iov))?;
    if kind == layout!(iter_ubuf) {
        return last_at(base + skip, count);
    }
    if kind != layout!(iter_iovec) {
        return None;
    }
    let segments: u64 = iterator.read(layout!(iter_segments))?;
    let (mut last, mut have, mut index) = (0, 0, 0);
    while index < PIECES {
        index += 1;
        if have >= 4 || index > segments {
            break;
        }
        let piece = Kernel::at((base + (segments - index) * IOVEC_SIZE) as *const c_void)?;
        let start: u64 = piece.read(0)?;
        let mut length: u64 = piece.read(IOVEC_LENGTH)?;
        // A write that goes on where an earlier one ended.
        let (start, skipped) = if index == segments {
            (start + skip, skip)
        } else {
            (start, 0)
        };
        length = length.saturating_sub(skipped);
        if length > 0 {
            let (value, more) = last_at(start, length)?;
            last |= value << (8 * (have & 3));
            have += more;
        }
    }
    Some((last, have))
}

/// The last four bytes in the writer's memory, or as many as there are.
#[inline(always)]
fn last_at(base: u64, length: u64) -> Option<(u32, u32)> {
    let size = bounded(if length > 4 { 4 } else { length as u32 }, 4)?;
    let from = base + length - u64::from(size);
    let mut bytes = [0u8; 4];
    // SAFETY: at most four bytes; the helper checks the source.
    let failed = unsafe { bpf_probe_read_user(bytes.as_mut_ptr().cast(), size, from as *const _) };
    let unused = 32 - 8 * (size & 7);
    (failed == 0).then_some((u32::from_be_bytes(bytes) >> (unused & 31), size))
}
