//! Records of connections, sent as far as there is something to say.

use probe502_common as records;
use records::{Socket, Talk, flag, kind};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::{DecodeError, end, ending, known, local, moment, record, remote};
use crate::event::{Flow, Marks};
use crate::redact::redact;
use crate::units::{Cookie, Errno, Head, Netns};
use crate::unix::Served;

/// Every bit of `Flow::flags` that has a meaning.
const FLAGS: u16 = 0x7fff;

pub(super) fn checked(flow: records::Flow) -> Result<records::Flow, DecodeError> {
    let number = flow.socket.flags.into();
    if flow.socket.flags & !FLAGS != 0 {
        let field = "flags";
        return Err(DecodeError::Number { field, number });
    }
    Ok(flow)
}

/// As much of a flow as was sent.
pub(super) fn read(bytes: &[u8]) -> Result<Box<Flow>, DecodeError> {
    told(&checked(padded(bytes)?)?).map(Box::new)
}

/// What the kernel side left out is zero.
fn padded(bytes: &[u8]) -> Result<records::Flow, DecodeError> {
    let socket: Socket = record(kind::ANSWERED, bytes)?;
    let mut flow = records::Flow::new_zeroed();
    let sent = bytes.len().min(size_of::<records::Flow>());
    let begins = size_of::<records::Flow>() - records::HEAD;
    if usize::from(socket.heard_head_length) > sent.saturating_sub(begins) {
        let (field, number) = ("heard_head", socket.heard_head_length.into());
        return Err(DecodeError::Number { field, number });
    }
    flow.as_mut_bytes()[..sent].copy_from_slice(&bytes[..sent]);
    Ok(flow)
}

fn set(socket: &Socket, bit: u16) -> bool {
    socket.flags & bit != 0
}

pub(super) fn told(flow: &records::Flow) -> Result<Flow, DecodeError> {
    in_parts(flow, &flow.socket, &flow.talk)
}

fn in_parts(flow: &records::Flow, socket: &Socket, talk: &Talk) -> Result<Flow, DecodeError> {
    Ok(Flow {
        netns: Netns(socket.header.netns),
        cookie: Cookie(socket.cookie),
        local: local(&socket.tuple),
        remote: remote(&socket.tuple),
        role: end(socket.role)?,
        how: ending(socket.how)?,
        task: known(&socket.task),
        owner: known(&socket.owner),
        opened_at: moment(socket.opened_at),
        established_at: moment(talk.established_at),
        fin_at: moment(talk.fin_at),
        reset_at: moment(socket.reset_at),
        said_at: moment(talk.said_at),
        heard_at: moment(talk.heard_at),
        heard_before_at: moment(talk.heard_before_at),
        said_bytes: talk.said_bytes,
        heard_bytes: talk.heard_bytes,
        unread: socket.unread,
        said: talk.said,
        heard: talk.heard,
        scanned: talk.scanned,
        quiet_ms: talk.quiet_ms,
        unheard_ms: talk.unheard_ms,
        longest_idle_ms: talk.longest_idle_ms,
        isn: socket.isn,
        peer_isn: socket.peer_isn,
        retransmits: socket.retransmits,
        unacked: socket.unacked,
        error: Errno(socket.error),
        soft_error: Errno(socket.soft_error),
        icmp_origin: socket.icmp_origin,
        icmp_type: socket.icmp_type,
        icmp_code: socket.icmp_code,
        status: (socket.status != 0).then_some(socket.status),
        state: socket.state,
        late: set(socket, flag::LATE),
        dying: set(socket, flag::DYING),
        held: set(socket, flag::HELD),
        established: set(socket, flag::ESTABLISHED),
        fin_heard: set(socket, flag::FIN_HEARD),
        reset_heard: set(socket, flag::RESET_HEARD),
        header_end_heard: set(socket, flag::HEADER_END_HEARD),
        header_scanned: set(socket, flag::HEADER_SCANNED),
        continued: set(socket, flag::CONTINUED),
        inherited: set(socket, flag::INHERITED),
        executing: set(socket, flag::EXECUTING),
        threads: socket.threads,
        asked: set(socket, flag::ASKED),
        speaks_tls: set(socket, flag::SPEAKS_TLS),
        speaks_http: set(socket, flag::SPEAKS_HTTP),
        marks: Marks::of(flow),
        before: Cookie(socket.before),
        path: None,
        served: Served::default(),
        said_head: head(&flow.said_head, socket.said_head_length, "said_head")?,
        heard_head: head(&flow.heard_head, socket.heard_head_length, "heard_head")?,
    })
}

fn head(bytes: &[u8], length: u16, field: &'static str) -> Result<Head, DecodeError> {
    let used = bytes.get(..usize::from(length));
    used.map(redact).ok_or(DecodeError::Number {
        field,
        number: length.into(),
    })
}
