//! What leaves of a connection when something happened to it: as much of a [`Flow`] as there is.

use probe502_common::{BRIEF, Brief, Flow, Socket, Talk, Task};

use crate::{
    body,
    connection::{self, Connection},
    emit, kernel, speech,
};

/// What happened to a connection, and who did it.
pub struct Moment {
    pub kind: u16,
    pub status: u16,
    pub how: u8,
    pub state: u8,
    /// Bytes received so far (`tcp_sock.bytes_received`).
    pub received: u64,
    /// The sequence number after the last byte written.
    pub written: u32,
    pub unread: u32,
    pub flags: u16,
    /// Bits of `probe502_common::mark`.
    pub marks: u8,
    /// The fact has an actor: the running task.
    pub acted: bool,
}

/// Sends a connection's life with this moment at its end: as much as there is of it.
#[inline(always)]
pub fn send(from: &Connection, moment: &Moment) {
    if is_mere_dial(from, moment) {
        emit::write_kind::<Socket>(moment.kind, |socket| {
            fill_socket(socket, from, moment);
            socket.header = connection::header::<Socket>(moment.kind, from.netns);
            moment.kind
        });
    } else if from.heard_head_length <= BRIEF as u16 {
        emit::write_kind::<Brief>(moment.kind, |brief| {
            fill_socket(&mut brief.socket, from, moment);
            brief.socket.header = connection::header::<Brief>(moment.kind, from.netns);
            fill_talk(&mut brief.talk, from, moment);
            brief.said_head = from.said_head;
            if let Some(first) = from.heard_head.first_chunk() {
                brief.heard_head = *first;
            }
            moment.kind
        });
    } else {
        emit::write_kind::<Flow>(moment.kind, |flow| {
            fill(flow, from, moment);
            flow.socket.header.kind = moment.kind;
            moment.kind
        });
    }
}

/// All but the record's kind, which makes it valid.
#[inline(always)]
pub fn fill(to: &mut Flow, from: &Connection, moment: &Moment) {
    to.socket.header = connection::header::<Flow>(0, from.netns);
    fill_socket(&mut to.socket, from, moment);
    fill_talk(&mut to.talk, from, moment);
    to.said_head = from.said_head;
    to.heard_head = from.heard_head;
}

/// All but the header.
#[inline(always)]
fn fill_socket(to: &mut Socket, from: &Connection, moment: &Moment) {
    to.cookie = from.cookie;
    to.task = Task::default();
    if moment.acted {
        kernel::write_task(kernel::current(), &mut to.task);
    }
    to.owner = from.owner;
    to.tuple = from.tuple;
    to.before = from.before;
    to.answered_at = from.answered_at;
    to.opened_at = from.opened_at;
    to.reset_at = from.reset_at;
    to.isn = from.isn;
    to.peer_isn = from.peer_isn;
    to.retransmits = from.retransmits;
    to.unacked = from.unacked;
    to.unread = moment.unread;
    to.error = from.error;
    to.soft_error = from.soft_error;
    to.status = moment.status;
    to.flags = from.flags | moment.flags | speech::of(from);
    to.role = from.role;
    to.how = moment.how;
    to.state = moment.state;
    to.icmp_origin = from.icmp_origin;
    to.icmp_type = from.icmp_type;
    to.icmp_code = from.icmp_code;
    to.threads = if moment.acted {
        kernel::threads(kernel::current())
    } else {
        0
    };
    to.marks = moment.marks;
    to.said_head_length = from.said_head_length;
    to.heard_head_length = from.heard_head_length;
}

#[inline(always)]
fn fill_talk(to: &mut Talk, from: &Connection, moment: &Moment) {
    let now = connection::now();
    to.established_at = from.established_at;
    to.fin_at = from.fin_at;
    to.said_at = from.said_at;
    to.heard_at = from.heard_at;
    to.heard_before_at = from.heard_before_at;
    let said = u64::from(moment.written.wrapping_sub(from.said_mark));
    to.said_bytes = if from.said == 0 { 0 } else { said };
    to.heard_bytes = from.heard_bytes(moment.received);
    to.said = from.said;
    to.heard = from.heard;
    to.scanned = from.scanned;
    to.quiet_ms = millis_since(from.spoke_at, now);
    to.unheard_ms = millis_since(from.listened_at, now);
    to.longest_idle_ms = from.longest_idle_ms;
    body::fill(to, from, moment);
}

/// 0 where it never was.
#[inline(always)]
fn millis_since(at: u64, now: u64) -> u32 {
    let passed = now.saturating_sub(at) / 1_000_000;
    if at == 0 { 0 } else { passed as u32 }
}

/// It was dialled in vain: nothing was said or heard, and all the rest is zero.
#[inline(always)]
fn is_mere_dial(from: &Connection, moment: &Moment) -> bool {
    let heads = from.said_head_length | from.heard_head_length;
    let times = from.established_at | from.fin_at | from.spoke_at | from.listened_at;
    let counts = u64::from(from.said | from.heard | from.scanned | from.longest_idle_ms);
    let heard = from.heard_bytes(moment.received);
    times | counts | heard | u64::from(heads) == 0
}
