//! UNIX connections: without ports, packets or states, and without a hook at their close. Kept by
//! the accepted end's address; both ends' hooks find them there.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{btf_tracepoint, map},
    maps::LruHashMap,
    programs::BtfTracePointContext,
};
use probe502_common::{HEAD, PATH, Task, UnixFlow, flag, how, kind, role};

use crate::{
    connection::{self, Connection, Moment, NOBODY, OTHER_END},
    emit, header,
    kernel::{self, Kernel, Sock},
    layout::layout,
    messages, order, tries, turns, unix_dials, unix_heads,
};

pub const AF_UNIX: u16 = 1;
pub const SOCK_STREAM: u16 = 1;
// net/tcp_states.h
pub const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;
const MSG_PEEK: i32 = 2;
const EPIPE: i32 = -32;
const ECONNRESET: i32 = -104;
/// Beyond every cookie that the kernel gives.
pub const OUR_OWN: u64 = 1 << 63;

/// A connection as its dialling end sees it, and what the other end did.
#[repr(C)]
pub struct UnixConnection {
    pub connection: Connection,
    /// The dialling socket's address in kernel memory: an address is used again.
    pub dialled: u64,
    server: Task,
    accepted_at: u64,
    served_at: u64,
    /// When the other end first wrote since the dialling end last spoke.
    pub wrote_at: u64,
    /// Bytes that the other end wrote, as far as the dialling end has met them.
    pub received: u64,
    /// The same, of packets that the dialling end has taken whole.
    pub taken: u64,
    /// Bytes that the dialling end wrote, that it was seen to write, that the other end took in whole
    /// packets, and that it read.
    pub written: u32,
    pub shown: u32,
    pub passed: u32,
    read: u32,
    queued: u32,
    limit: u32,
    path_length: u32,
    /// Bytes of [`Self::received`] that the dialling end has read.
    pub had: u32,
    path: [u8; PATH],
}

/// Full: the connection that was least recently used is forgotten. Each takes some 1,100 bytes.
#[map]
pub static UNIX: LruHashMap<u64, UnixConnection> = LruHashMap::with_max_entries(2048, 0);

/// For each thread, the connection that it read from last: told of when it answers with a failure.
/// Full: the least recently used thread is forgotten.
#[map]
static READ_LAST: LruHashMap<u32, ReadLast> = LruHashMap::with_max_entries(1024, 0);

#[repr(C)]
struct ReadLast {
    accepted: u64,
    /// Another connection may have the same address by now.
    cookie: u64,
}

/// What a new element of [`UNIX`] is made from.
// SAFETY: integers and arrays of them, for which zeros are valid.
static BLANK: UnixConnection = unsafe { core::mem::zeroed() };

/// A message or a connection was put into a socket's queue; the sender or dialler is running.
#[btf_tracepoint(function = "sk_data_ready")]
pub fn unix_ready(ctx: BtfTracePointContext) -> i32 {
    ready(ctx.arg(0));
    0
}

/// A socket's holder has read from it.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn unix_read(ctx: BtfTracePointContext) -> i32 {
    read(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

/// A socket's holder has written to it.
#[btf_tracepoint(function = "sock_send_length")]
pub fn unix_written(ctx: BtfTracePointContext) -> i32 {
    written(ctx.arg(0), ctx.arg(1));
    0
}

#[inline(always)]
fn unix_stream(socket: *const c_void) -> Option<Sock> {
    let sock = Sock::at(socket)?;
    (sock.family() == AF_UNIX && sock.0.load(layout!(sock_type)) == Some(SOCK_STREAM))
        .then_some(sock)
}

#[inline(always)]
fn ready(socket: *const c_void) -> Option<()> {
    let sock = unix_stream(socket)?;
    if sock.state() == LISTEN {
        return dialled(sock, sock.last_received()?);
    }
    let (own, peer) = (sock.0.number(), sock.0.unix_peer());
    if let Some(known) = known(own).filter(|known| known.dialled == peer) {
        asked(known, sock);
    } else if let Some(known) = known(peer).filter(|known| known.dialled == own) {
        answered(known, sock);
    } else if unix_dials::is_dialler(kernel::tgid(kernel::current())) {
        return adopted(sock, peer);
    }
    None
}

impl UnixConnection {
    /// `accept(2)` took its other end: the server's task runs.
    #[inline(always)]
    pub fn take(&mut self) {
        if self.accepted_at == 0 {
            self.accepted_at = connection::now();
            self.served_at = self.accepted_at;
            kernel::write_task(kernel::current(), &mut self.server);
        }
    }
}

#[inline(always)]
pub fn known(accepted: u64) -> Option<&'static mut UnixConnection> {
    // SAFETY: an element stays readable while the program runs; two ends that write at once may mix
    // their counts, and nothing else.
    unsafe { UNIX.get_ptr_mut(accepted)?.as_mut() }
}

/// The dialling task runs: `packet` holds the end that waits to be accepted.
#[inline(never)]
fn dialled(listener: Sock, packet: Kernel) -> Option<()> {
    let accepted = packet.follow(layout!(skb_sk))?;
    let made = make(accepted.number(), accepted.unix_peer())?;
    (made.queued, made.limit) = listener.backlog();
    made.path_length = listener.write_unix_path(&mut made.path).unwrap_or(0);
    let connection = &mut made.connection;
    connection.netns = listener.netns();
    connection.flags = flag::ESTABLISHED;
    tries::note_dialled();
    let tid = bpf_get_current_pid_tgid() as u32;
    connection.before = order::take_failed_try(tid).cookie;
    kernel::write_task(kernel::current(), &mut connection.owner);
    unix_dials::note_dialler(connection.owner.pid);
    unix_dials::tell_listener(listener, &made.path, made.path_length);
    None
}

/// A gateway writes on a connection that is older than the programs: `accepted` is the end that has
/// its listener's path.
#[inline(never)]
fn adopted(accepted: Sock, dialled: u64) -> Option<()> {
    let is_named = |socket: Kernel| socket.follow(layout!(unix_addr)).is_some();
    let dialler = Kernel::at(dialled as *const c_void)?;
    if !is_named(accepted.0) || is_named(dialler) || !accepted.is_held() {
        return None;
    }
    let made = make(accepted.0.number(), dialled)?;
    made.path_length = accepted.write_unix_path(&mut made.path).unwrap_or(0);
    made.connection.netns = accepted.netns();
    made.connection.flags = flag::ESTABLISHED | flag::LATE;
    kernel::write_task(kernel::current(), &mut made.connection.owner);
    asked(made, accepted);
    None
}

#[inline(always)]
fn make(accepted: u64, dialled: u64) -> Option<&'static mut UnixConnection> {
    // One that had these two addresses the other way round has gone: its requests are this one's answers.
    let _ = UNIX.remove(dialled);
    unix_heads::forget(accepted);
    let blank: &UnixConnection = &BLANK;
    UNIX.insert(accepted, blank, 0).ok()?;
    let made = known(accepted)?;
    made.dialled = dialled;
    let connection = &mut made.connection;
    let now = connection::now();
    connection.cookie = now | OUR_OWN;
    connection.opened_at = now;
    connection.established_at = now;
    connection.role = role::DIALLED;
    connection.speaker = NOBODY;
    Some(made)
}

/// The dialling end writes, or tries to: a turn of its own begins unless it is in one.
fn speaks(known: &mut UnixConnection) -> &mut Connection {
    let connection = &mut known.connection;
    connection.spoke_at = connection::now();
    tries::note_asked(tries::running(), connection.spoke_at);
    if turns::begins(connection, known.received) {
        let tid = bpf_get_current_pid_tgid() as u32;
        messages::begin(connection, tid, known.received, known.written);
        connection.said_head_length = 0;
    }
    connection
}

/// The dialling end wrote: its task runs.
#[inline(never)]
fn asked(known: &mut UnixConnection, accepted: Sock) {
    let packet = accepted.last_received();
    speaks(known);
    match packet {
        Some(packet) => unix_heads::show(known, packet),
        None => unix_heads::recall(known, accepted.0.number()),
    }
}

/// The other end wrote: the server's task runs. What it wrote is met by who takes it: the dialling
/// end may have done so already, and may have asked anew since.
#[inline(never)]
fn answered(known: &mut UnixConnection, dialled: Sock) {
    let now = connection::now();
    known.served_at = now;
    if known.wrote_at <= known.connection.said_at && dialled.last_received().is_some() {
        known.wrote_at = now;
        kernel::write_task(kernel::current(), &mut known.server);
    }
}

#[inline(always)]
fn read(socket: *const c_void, length: i32, flags: i32) -> Option<()> {
    let sock = unix_stream(socket)?;
    let (own, peer) = (sock.0.number(), sock.0.unix_peer());
    if let Some(known) = known(peer).filter(|known| known.dialled == own) {
        let ended = length == ECONNRESET || length == 0 && sock.is_shut();
        if ended {
            let_go(known, length);
        } else if length > 0 && flags & MSG_PEEK == 0 {
            unix_heads::meet(known, sock.0);
            unix_heads::count_unmet(known, length as u32);
            let tid = bpf_get_current_pid_tgid() as u32;
            // Full of busy threads: then an answer that cannot be used is not told of.
            let last = ReadLast {
                accepted: peer,
                cookie: known.connection.cookie,
            };
            let _ = READ_LAST.insert(tid, &last, 0);
        }
    } else if let Some(known) = known(own).filter(|known| known.dialled == peer)
        && length > 0
    {
        // Who peeks knows of the request, and leaves it unread.
        if flags & MSG_PEEK == 0 {
            known.read = known.read.wrapping_add(length as u32);
        }
        known.served_at = connection::now();
        kernel::write_task(kernel::current(), &mut known.server);
    }
    None
}

/// What came of a write. Nothing was written where the other end has gone: the request failed as it
/// began.
#[inline(always)]
fn written(socket: *const c_void, length: i32) -> Option<()> {
    let has_failed = matches!(length, EPIPE | ECONNRESET);
    if length <= 0 && !has_failed {
        return None;
    }
    let sock = unix_stream(socket)?;
    let accepted = sock.0.unix_peer();
    let known = known(accepted).filter(|known| known.dialled == sock.0.number())?;
    if has_failed {
        failed(known, sock, length);
    } else {
        unix_heads::count_written(known, accepted, length as u32);
    }
    None
}

/// What came before the request began is no answer to it.
#[inline(never)]
fn failed(known: &mut UnixConnection, sock: Sock, error: i32) {
    let begins = turns::begins(&known.connection, known.received);
    if begins {
        unix_heads::meet(known, sock.0);
    }
    speaks(known);
    if !begins {
        unix_heads::meet(known, sock.0);
    }
    let_go(known, error);
}

/// The dialling end learnt that the other end has gone: by an end of file, or by an error where
/// the other end had left bytes unread.
#[inline(never)]
fn let_go(known: &mut UnixConnection, length: i32) {
    let connection = &mut known.connection;
    if connection.gone == 1 {
        return;
    }
    connection.gone = 1;
    tries::note_dialled();
    if length == ECONNRESET {
        connection.reset_at = connection::now();
        connection.flags |= flag::RESET_HEARD;
        connection.error = (-ECONNRESET) as u16;
    } else {
        connection.fin_at = connection::now();
        connection.flags |= flag::FIN_HEARD;
    }
    // Idle in a pool: nobody waits for an answer.
    if connection.said > 0 && connection.speaker == OTHER_END && is_whole(connection) {
        order::note_let_go(connection.cookie, false);
        return;
    }
    if connection.said == 0 && connection.has(flag::FIN_HEARD) {
        return;
    }
    order::note_let_go(connection.cookie, true);
    tell(known, kind::UNIX_ENDED, 0, how::RELEASED, true);
}

/// Whether the answer's header is whole, or of another protocol, so that it may be a good one.
#[inline(always)]
fn is_whole(connection: &Connection) -> bool {
    let kept = u32::from(connection.heard_head_length);
    kept == HEAD as u32
        || !messages::is_request(&connection.said_head, connection.said_head_length)
        || header::ends_within(&connection.heard_head, kept)
}

/// What a thread read last, where it answers with a failure.
#[inline(never)]
pub fn send_read_last(tid: u32) -> Option<()> {
    let place = READ_LAST.get_ptr_mut(tid)?;
    // SAFETY: only this thread writes its own element, and it is running this program.
    let last = unsafe { &mut *place };
    let accepted = core::mem::take(&mut last.accepted);
    if accepted != 0 {
        let known = known(accepted).filter(|known| known.connection.cookie == last.cookie)?;
        note_close(known, accepted);
        tell(known, kind::UNIX_ENDED, 0, how::OPEN, true);
    }
    None
}

/// The dialling end may know of the other end's close, unread: what woke it tells too (`EPOLLRDHUP`).
#[inline(never)]
fn note_close(known: &mut UnixConnection, accepted: u64) -> Option<()> {
    let dialled = Kernel::at(known.dialled as *const c_void)?;
    let is_shut = dialled.read::<u8>(layout!(sock_shutdown))? & 1 == 1;
    let connection = &mut known.connection;
    if connection.gone == 0 && is_shut && dialled.unix_peer() == accepted {
        connection.gone = 1;
        connection.fin_at = connection::now();
        connection.flags |= flag::FIN_HEARD;
    }
    None
}

#[inline(always)]
pub fn tell(known: &UnixConnection, kind: u16, status: u16, how: u8, acted: bool) {
    let moment = Moment {
        kind,
        status,
        how,
        state: ESTABLISHED,
        received: known.received,
        written: known.written,
        unread: 0,
        flags: flag::HELD | connection::dying(),
        marks: 0,
        acted,
    };
    emit::write::<UnixFlow>(kind, |record| {
        connection::fill(&mut record.flow, &known.connection, &moment);
        record.flow.socket.header = connection::header::<UnixFlow>(kind, known.connection.netns);
        record.server = known.server;
        record.accepted_at = known.accepted_at;
        record.served_at = known.served_at;
        // Two processors may count a write after its read.
        let unread = known.written.wrapping_sub(known.read);
        record.unread = if unread > i32::MAX as u32 { 0 } else { unread };
        record.queued = known.queued;
        record.limit = known.limit;
        record.path_length = known.path_length;
        record.path = known.path;
    });
}
