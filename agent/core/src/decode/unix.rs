//! Records of UNIX connections and of system calls.

use std::net::SocketAddr;

use probe502_common as records;
use records::{call, kind};
use zerocopy::FromZeros as _;

use super::flow::{checked, told};
use super::{DecodeError, address, known, moment, task};
use crate::event::{Flow, How, Role, UnixListener};
use crate::units::{Cookie, Errno, Netns, Pid, Timestamp};
use crate::unix::{Call, Served, Which};

/// `enum` of address families (`linux/socket.h`).
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

pub(super) fn flow(record: &records::UnixFlow) -> Result<Flow, DecodeError> {
    let flow = told(&checked(record.flow)?)?;
    // What still waits is told of by whoever answers, and is its asker's.
    let ended = record.flow.socket.header.kind == kind::UNIX_ENDED;
    let asker = flow.owner.clone().filter(|_| ended);
    let task = flow.task.clone().or(asker);
    Ok(Flow {
        path: Some(path(&record.path, record.path_length)),
        served: Served {
            server: known(&record.server),
            served_at: moment(record.served_at),
        },
        unread: record.unread,
        task,
        ..flow
    })
}

pub(super) fn listener(record: &records::UnixListener) -> UnixListener {
    UnixListener {
        netns: Netns(record.header.netns),
        pid: Pid(record.pid),
        path: path(&record.path, record.path_length),
        before: false,
    }
}

/// A dial that failed is an attempt that ended as it began.
pub(super) fn dial(record: &records::UnixDial) -> Result<Flow, DecodeError> {
    let at = Timestamp(record.header.at);
    Ok(Flow {
        cookie: Cookie(record.cookie),
        role: Role::Dialled,
        how: How::Released,
        task: known(&record.task),
        owner: known(&record.task),
        opened_at: Some(at),
        before: Cookie(record.before),
        path: Some(path(&record.path, record.path_length)),
        ..told(&records::Flow::new_zeroed())?
    })
}

pub(super) fn call(record: &records::Call) -> Result<Call, DecodeError> {
    let which = match record.which {
        call::SOCKET => Which::Socket,
        call::CONNECT => Which::Connect,
        call::ACCEPT => Which::Accept,
        number => {
            return Err(DecodeError::Number {
                field: "which",
                number,
            });
        }
    };
    let errno = u16::try_from(record.errno).map_err(|_| DecodeError::Number {
        field: "errno",
        number: record.errno,
    })?;
    let family = u16::from_ne_bytes([record.address[0], record.address[1]]);
    let unix = family == AF_UNIX && record.address_length > 2;
    Ok(Call {
        task: task(&record.task),
        which,
        errno: Errno(errno),
        path: unix.then(|| path(&record.address[2..], record.address_length - 2)),
        remote: inet(&record.address, family),
    })
}

/// `struct sockaddr_in` and `struct sockaddr_in6` (ip(7), ipv6(7)).
fn inet(bytes: &[u8], family: u16) -> Option<SocketAddr> {
    let port: [u8; 2] = bytes.get(2..4)?.try_into().ok()?;
    match family {
        AF_INET => {
            let v4: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SocketAddr::new(v4.into(), u16::from_be_bytes(port)))
        }
        AF_INET6 => Some(address(bytes.get(8..24)?.try_into().ok()?, port)),
        _ => None,
    }
}

/// As far as it is used: a path ends at its first NUL, and an abstract one begins with it.
fn path(bytes: &[u8], length: u32) -> String {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let used = bytes.get(..length).unwrap_or(bytes);
    let (mark, name) = match used.split_first() {
        Some((0, name)) => ("@", name),
        _ => ("", used),
    };
    let name = if mark.is_empty() {
        name.split(|byte| *byte == 0).next().unwrap_or_default()
    } else {
        name
    };
    format!("{mark}{}", name.escape_ascii())
}
