//! Bytes gain meaning here, or a reason why not: kernel records in, events out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use probe502_common as records;
use records::{flag, how, kind, role};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::event::{
    Death, Drop, Event, Fact, How, Listener, Lookup, Reset, Role, Signal, Task, Victim,
};
use crate::names::readable;
use crate::packets::Overflow;
use crate::units::{Cookie, Netns, Pid, Timestamp};

/// The TCP header's SYN and ACK bits (RFC 9293, 3.1).
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// What the running kernel calls its numbers, without the enum's prefix.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `enum sk_rst_reason`.
    pub reset_reasons: BTreeMap<u32, String>,
    /// `enum skb_drop_reason`.
    pub drop_reasons: BTreeMap<u32, String>,
}

/// Why bytes are no event.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the record needs.
    #[error("a record of kind {kind} is {wanted} bytes, not {found}")]
    Size {
        /// The record's kind.
        kind: u16,
        /// The bytes that it needs.
        wanted: usize,
        /// The bytes that there are.
        found: usize,
    },
    /// Not even a header.
    #[error("{0} bytes are no record")]
    Header(usize),
    /// A kind that this build does not know.
    #[error("no record has the kind {0}")]
    Kind(u16),
    /// A number outside its closed set.
    #[error("{field} is {number}, which has no meaning")]
    Number {
        /// The field.
        field: &'static str,
        /// Its number.
        number: u32,
    },
}

/// Turns records into events with the running kernel's names.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    names: Names,
}

impl Decoder {
    /// A decoder for a kernel that uses these names.
    #[must_use]
    pub fn new(names: Names) -> Self {
        Self { names }
    }

    /// One record's event.
    ///
    /// # Errors
    /// Where the bytes are too few, or hold a number that has no meaning.
    pub fn decode(&self, bytes: &[u8]) -> Result<Event, DecodeError> {
        let (header, _) = records::Header::read_from_prefix(bytes)
            .map_err(|_| DecodeError::Header(bytes.len()))?;
        let fact = match header.kind {
            kind::ANSWERED => Fact::Answered(flow::read(bytes)?),
            kind::ENDED => Fact::Ended(flow::read(bytes)?),
            kind::HEARD => Fact::Heard(flow::read(bytes)?),
            kind::RESET => Fact::Reset(self.reset(&record(header.kind, bytes)?)?),
            kind::LISTENS => Fact::Listens(listener(&record(header.kind, bytes)?)),
            kind::LISTENED => Fact::Listened(listener(&record(header.kind, bytes)?)),
            kind::DEATH => Fact::Death(death(&record(header.kind, bytes)?)?),
            kind::SIGNAL => Fact::Signal(signal(&record(header.kind, bytes)?)?),
            kind::VICTIM => {
                let victim: records::Victim = record(header.kind, bytes)?;
                Fact::Victim(Victim {
                    pid: Pid(victim.pid),
                })
            }
            kind::DROP => Fact::Drop(self.dropped(&record(header.kind, bytes)?)),
            kind::OVERFLOW => Fact::Overflow(overflow(&record(header.kind, bytes)?)),
            kind::UNIX_ENDED => Fact::Ended(unix::flow(&record(header.kind, bytes)?)?.into()),
            kind::UNIX_HEARD => Fact::Heard(unix::flow(&record(header.kind, bytes)?)?.into()),
            kind::UNIX_DIAL => Fact::Ended(unix::dial(&record(header.kind, bytes)?)?.into()),
            kind::UNIX_DIALLER => {
                let dialler: records::UnixDialler = record(header.kind, bytes)?;
                let pid = Pid(dialler.pid);
                let before = false;
                Fact::Dialler(crate::unix::Dialler { pid, before })
            }
            kind::UNIX_LISTENER => Fact::UnixListens(unix::listener(&record(header.kind, bytes)?)),
            kind::CALL => Fact::Call(unix::call(&record(header.kind, bytes)?)?),
            kind::LOOKUP => Fact::Lookup(lookup(&record(header.kind, bytes)?)),
            unknown => return Err(DecodeError::Kind(unknown)),
        };
        Ok(Event {
            at: Timestamp(header.at),
            fact,
        })
    }

    fn reset(&self, reset: &records::Reset) -> Result<Reset, DecodeError> {
        let named = |number| name(&self.names.reset_reasons, number);
        Ok(Reset {
            netns: Netns(reset.header.netns),
            cookie: Cookie(reset.cookie),
            local: local(&reset.tuple),
            remote: remote(&reset.tuple),
            role: end(reset.role)?,
            reason: (reset.reason != u32::MAX).then(|| named(reset.reason)),
            sequence: reset.sequence,
        })
    }

    fn dropped(&self, drop: &records::Drop) -> Drop {
        Drop {
            netns: Netns(drop.header.netns),
            source: local(&drop.tuple),
            target: remote(&drop.tuple),
            syn: drop.tcp_flags & (SYN | ACK) == SYN,
            reason: name(&self.names.drop_reasons, drop.reason),
            sequence: drop.sequence,
            acknowledges: drop.acknowledges,
            arrived: drop.arrived != 0,
        }
    }
}

/// A reason without a name keeps its number: what happened is worth more than what it is called.
fn name(names: &BTreeMap<u32, String>, number: u32) -> String {
    names
        .get(&number)
        .cloned()
        .unwrap_or_else(|| number.to_string())
}

fn lookup(lookup: &records::Lookup) -> Lookup {
    let kept = usize::from(lookup.name_length).min(lookup.name.len());
    Lookup {
        pid: Pid(lookup.pid),
        asked_at: moment(lookup.asked_at),
        heard_at: moment(lookup.heard_at),
        good_at: moment(lookup.good_at),
        failed_at: moment(lookup.failed_at),
        code: lookup.code,
        name: readable(&lookup.name[..kept]),
    }
}

fn record<T: FromBytes + KnownLayout + Immutable>(
    kind: u16,
    bytes: &[u8],
) -> Result<T, DecodeError> {
    let wanted = size_of::<T>();
    let size_error = || DecodeError::Size {
        kind,
        wanted,
        found: bytes.len(),
    };
    T::read_from_prefix(bytes)
        .map(|(record, _)| record)
        .map_err(|_| size_error())
}

fn listener(listener: &records::Listener) -> Listener {
    Listener {
        netns: Netns(listener.header.netns),
        cookie: Cookie(listener.cookie),
        local: local(&listener.tuple),
        task: task(&listener.task),
        dying: listener.flags & flag::DYING != 0,
        v6_only: listener.v6_only != 0,
        queued: listener.queued,
        limit: listener.limit,
        before: false,
    }
}

fn overflow(overflow: &records::Overflow) -> Overflow {
    Overflow {
        netns: Netns(overflow.header.netns),
        cookie: Cookie(overflow.cookie),
        local: local(&overflow.tuple),
        remote: remote(&overflow.tuple),
        queued: overflow.queued,
        limit: overflow.limit,
        sequence: overflow.sequence,
        syn: overflow.tcp_flags & (SYN | ACK) == SYN,
    }
}

fn death(death: &records::Death) -> Result<Death, DecodeError> {
    let code_error = || DecodeError::Number {
        field: "code",
        number: death.code,
    };
    let signal = u8::try_from(death.code & 0x7f).map_err(|_| code_error())?;
    let status = u8::try_from(death.code >> 8 & 0xff).map_err(|_| code_error())?;
    Ok(Death {
        task: task(&death.task),
        status: (signal == 0).then_some(status),
        signal: (signal != 0).then_some(signal),
        core: death.code & 0x80 != 0,
        answered_at: moment(death.answered_at),
    })
}

fn signal(signal: &records::Signal) -> Result<Signal, DecodeError> {
    let number = u8::try_from(signal.number).map_err(|_| DecodeError::Number {
        field: "signal",
        number: signal.number,
    })?;
    Ok(Signal {
        sender: task(&signal.sender),
        target: task(&signal.target),
        number,
        kernel: signal.code > 0,
    })
}

fn moment(nanoseconds: u64) -> Option<Timestamp> {
    (nanoseconds != 0).then_some(Timestamp(nanoseconds))
}

fn known(record: &records::Task) -> Option<Task> {
    (record.pid != 0).then(|| task(record))
}

fn task(record: &records::Task) -> Task {
    let used = record
        .comm
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(record.comm.len());
    Task {
        pid: Pid(record.pid),
        tid: record.tid,
        parent: Pid(record.parent),
        uid: record.uid,
        comm: String::from_utf8_lossy(&record.comm[..used]).into_owned(),
    }
}

fn local(tuple: &records::Tuple) -> SocketAddr {
    address(tuple.local, tuple.local_port)
}

fn remote(tuple: &records::Tuple) -> SocketAddr {
    address(tuple.remote, tuple.remote_port)
}

fn address(address: [u8; 16], port: [u8; 2]) -> SocketAddr {
    let address = IpAddr::V6(Ipv6Addr::from(address)).to_canonical();
    SocketAddr::new(address, u16::from_be_bytes(port))
}

fn end(number: u8) -> Result<Role, DecodeError> {
    match number {
        role::UNKNOWN => Ok(Role::Unknown),
        role::DIALLED => Ok(Role::Dialled),
        role::ACCEPTED => Ok(Role::Accepted),
        unknown => Err(DecodeError::Number {
            field: "role",
            number: unknown.into(),
        }),
    }
}

fn ending(number: u8) -> Result<How, DecodeError> {
    match number {
        how::OPEN => Ok(How::Open),
        how::FIN => Ok(How::Fin),
        how::UNREAD => Ok(How::Unread),
        how::LINGER => Ok(How::Linger),
        how::QUEUED => Ok(How::Queued),
        how::RELEASED => Ok(How::Released),
        unknown => Err(DecodeError::Number {
            field: "how",
            number: unknown.into(),
        }),
    }
}

mod flow;
mod unix;

#[cfg(test)]
mod tests;
