//! The kernel's own dump of sockets (sock_diag(7)): cookie, queues and `IPV6_V6ONLY`, which /proc
//! does not show, and one connection's end by its addresses.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;

use probe502_core::units::{Cookie, Netns, Pid};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{netlink, recv, send, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::proc;
use super::sockets::Bound;

/// `linux/netlink.h`, `linux/sock_diag.h`, `linux/inet_diag.h` and `net/tcp_states.h`.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST: u16 = 1;
const REQUEST_DUMP: u16 = 0x301;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKV6ONLY: u16 = 11;
const NO_COOKIE: [u8; 8] = [0xff; 8];
const IPPROTO_TCP: u8 = 6;
const TCP_LISTEN: u8 = 10;
const TCP_CLOSE_WAIT: u8 = 8;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Bytes of `struct nlmsghdr`, `struct inet_diag_msg` and a request.
const HEADER: usize = 16;
const MESSAGE: usize = 72;
const ASKING: usize = HEADER + 56;

/// Does something in the namespace that a process lives in. Another than ours is entered by a
/// thread of its own, which ends with it; that needs `CAP_SYS_ADMIN`.
pub fn within<T: Send + 'static>(
    (pid, netns): (Pid, Netns),
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if proc::netns(Pid(std::process::id())) == Some(netns) {
        return act();
    }
    let namespace = File::open(proc::path(pid, "ns/net"))?;
    let visit = std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        act()
    });
    visit
        .join()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

/// The listeners of the namespace that a process lives in.
pub fn listeners(pid: Pid, netns: Netns) -> io::Result<Vec<Bound>> {
    within((pid, netns), dump)
}

/// One end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The TCP state, by the kernel's number; 0 where there is no such socket.
    pub state: u8,
    /// 0 where no file is.
    pub inode: u64,
    pub unread: u32,
    pub unsent: u32,
    /// Bytes received in its life.
    pub received: u64,
    /// Milliseconds since the last of them.
    pub quiet_ms: u32,
}

/// The end at `local` of a connection with `remote`, in the namespace that a process lives in.
pub fn end(place: (Pid, Netns), (local, remote): (SocketAddr, SocketAddr)) -> io::Result<End> {
    within(place, move || match ask(&request_end(local, remote)) {
        Ok(message) => Ok(message.as_deref().and_then(end_of).unwrap_or_default()),
        // ENOENT: no socket has these two ends.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(End::default()),
        Err(error) => Err(error),
    })
}

/// How many sockets, of every state, have their other end there.
pub fn count(place: (Pid, Netns), remote: SocketAddr) -> io::Result<u32> {
    within(place, move || {
        let mut found = 0;
        let family = if remote.is_ipv4() { AF_INET } else { AF_INET6 };
        let mut request = request(family, !(1 << TCP_LISTEN));
        request[26..28].copy_from_slice(&remote.port().to_be_bytes());
        exchange(&request, |message| {
            found += u32::from(address(message, 24) == Some(remote.ip()));
        })?;
        Ok(found)
    })
}

fn dump() -> io::Result<Vec<Bound>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let listening = request(family, 1 << TCP_LISTEN);
        exchange(&listening, |message| found.extend(bound(message)))?;
    }
    Ok(found)
}

fn socket() -> io::Result<std::os::fd::OwnedFd> {
    let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
    let made = socket_with(family, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
    Ok(made)
}

/// One question with many answers.
pub fn exchange(request: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let socket = socket()?;
    let mut buffer = vec![0; 64 * 1024];
    send(&socket, request, SendFlags::empty())?;
    loop {
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if !messages(&buffer[..length], &mut each)? {
            return Ok(());
        }
    }
}

/// One question with one answer.
fn ask(request: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let socket = socket()?;
    let mut buffer = vec![0; 8 * 1024];
    send(&socket, request, SendFlags::empty())?;
    let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
    let mut answer = None;
    messages(&buffer[..length], &mut |message| {
        answer = Some(message.to_vec())
    })?;
    Ok(answer)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: every TCP socket of a family in these states.
fn request(family: u8, states: u32) -> [u8; ASKING] {
    let mut request = [0; ASKING];
    request[..4].copy_from_slice(&(ASKING as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    request[16] = family;
    request[17] = IPPROTO_TCP;
    request[20..24].copy_from_slice(&states.to_ne_bytes());
    request
}

/// The same for the one socket with these two ends, and with its `struct tcp_info`.
fn request_end(local: SocketAddr, remote: SocketAddr) -> [u8; ASKING] {
    let mut request = request(if local.is_ipv4() { AF_INET } else { AF_INET6 }, u32::MAX);
    request[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    request[18] = 1 << (INET_DIAG_INFO - 1);
    request[24..26].copy_from_slice(&local.port().to_be_bytes());
    request[26..28].copy_from_slice(&remote.port().to_be_bytes());
    write_address(&mut request[28..44], local.ip());
    write_address(&mut request[44..60], remote.ip());
    request[64..72].copy_from_slice(&NO_COOKIE);
    request
}

fn write_address(to: &mut [u8], address: IpAddr) {
    match address {
        IpAddr::V4(v4) => to[..4].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => to.copy_from_slice(&v6.octets()),
    }
}

/// Takes in one datagram; `false` after the last.
fn messages(mut bytes: &[u8], each: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let length = length as usize;
        let Some(message) = bytes.get(HEADER..length) else {
            break;
        };
        match kind {
            NLMSG_DONE => return Ok(false),
            NLMSG_ERROR => {
                let error = u32_at(message, 0).unwrap_or(0).cast_signed();
                return Err(io::Error::from_raw_os_error(-error));
            }
            _ => each(message),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(true)
}

/// `struct inet_diag_msg` and its attributes.
fn bound(message: &[u8]) -> Option<Bound> {
    let port = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    let ip = address(message, 8)?;
    let cookie = u64::from(u32_at(message, 44)?) | u64::from(u32_at(message, 48)?) << 32;
    Some(Bound {
        local: SocketAddr::new(ip, port),
        cookie: Cookie(cookie),
        queued: u32_at(message, 56)?,
        limit: u32_at(message, 60)?,
        inode: u32_at(message, 68)?.into(),
        v6_only: Some(
            attribute(message.get(MESSAGE..)?, INET_DIAG_SKV6ONLY)
                .is_some_and(|value| value.first() == Some(&1)),
        ),
    })
}

/// An address at an offset of `struct inet_diag_msg`.
fn address(message: &[u8], at: usize) -> Option<IpAddr> {
    let bytes: [u8; 16] = message.get(at..at + 16)?.try_into().ok()?;
    Some(match *message.first()? {
        AF_INET => Ipv4Addr::from(*bytes.first_chunk::<4>()?).into(),
        _ => Ipv6Addr::from(bytes).to_canonical(),
    })
}

/// `struct inet_diag_msg` and `struct tcp_info` (`linux/tcp.h`).
fn end_of(message: &[u8]) -> Option<End> {
    let state = *message.get(1)?;
    // Where no connection has these ends, the kernel answers with the listener.
    if state == TCP_LISTEN {
        return None;
    }
    let info = attribute(message.get(MESSAGE..)?, INET_DIAG_INFO).unwrap_or_default();
    // An unread FIN counts as a byte.
    let fin = u32::from(state == TCP_CLOSE_WAIT);
    Some(End {
        state,
        inode: u32_at(message, 68)?.into(),
        unread: u32_at(message, 56)?.saturating_sub(fin),
        unsent: u32_at(message, 60)?,
        received: u64_at(info, 128).unwrap_or(0),
        quiet_ms: u32_at(info, 52).unwrap_or(0),
    })
}

/// An attribute's value (`struct rtattr`).
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (length, kind) = (usize::from(u16_at(bytes, 0)?), u16_at(bytes, 2)?);
        if kind == wanted {
            return bytes.get(4..length.max(4));
        }
        bytes = bytes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel answers for a listener on [::]:80 with IPV6_V6ONLY.
    fn answer() -> Vec<u8> {
        let mut bytes = vec![0; HEADER + MESSAGE];
        bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        let message = &mut bytes[HEADER..];
        message[0] = AF_INET6;
        message[4..6].copy_from_slice(&80u16.to_be_bytes());
        message[44..48].copy_from_slice(&7u32.to_ne_bytes());
        message[48..52].copy_from_slice(&1u32.to_ne_bytes());
        message[60..64].copy_from_slice(&511u32.to_ne_bytes());
        message[68..72].copy_from_slice(&4711u32.to_ne_bytes());
        bytes.extend([5, 0, 8, 0, 0, 0, 0, 0]);
        bytes.extend([5, 0, 11, 0, 1, 0, 0, 0]);
        let length = u32::try_from(bytes.len()).expect("small");
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }

    #[test]
    fn an_answer_is_a_listener() {
        let mut found = Vec::new();
        let mut each = |message: &[u8]| found.extend(bound(message));
        assert!(messages(&answer(), &mut each).expect("no error"));
        let expected = Bound {
            local: "[::]:80".parse().expect("address"),
            cookie: Cookie(0x1_0000_0007),
            queued: 0,
            limit: 511,
            inode: 4711,
            v6_only: Some(true),
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn the_end_and_errors_are_noticed() {
        let mut done = answer();
        done[4..6].copy_from_slice(&NLMSG_DONE.to_ne_bytes());
        assert!(!messages(&done, &mut |_| ()).expect("no error"));
        let mut error = answer();
        error[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        error[16..20].copy_from_slice(&(-1i32).to_ne_bytes());
        let error = messages(&error, &mut |_| ()).expect_err("an error");
        assert_eq!(error.raw_os_error(), Some(1));
    }

    #[test]
    fn a_cut_answer_is_no_listener() {
        let whole = answer();
        for length in 0..whole.len() {
            let mut found = 0;
            assert!(messages(&whole[..length], &mut |_| found += 1).expect("no error"));
            assert_eq!(found, 0);
        }
    }

    #[test]
    fn both_ends_of_a_connection_are_found() {
        use std::io::Write as _;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let mut client =
            std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        client.write_all(b"four").expect("sent");
        let (local, remote) = (client.peer_addr(), client.local_addr());
        let ends = (local.expect("peer"), remote.expect("own"));
        let own = Pid(std::process::id());
        let place = (own, proc::netns(own).expect("a namespace"));
        let queued = end(place, ends).expect("a dump");
        let (state, unread, received) = (queued.state, queued.unread, queued.received);
        assert_eq!((state, unread, received, queued.inode), (1, 4, 4, 0));
        let accepted = listener.accept().expect("accepted");
        assert_ne!(end(place, ends).expect("a dump").inode, 0);
        assert_eq!(count(place, ends.0).expect("a dump"), 1);
        drop((client, accepted));
        let none = (ends.0, "127.0.0.1:1".parse().expect("address"));
        assert_eq!(end(place, none).expect("a dump"), End::default());
    }
}
