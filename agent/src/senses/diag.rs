//! The kernel's own dump of listening sockets (sock_diag(7)): cookie, queue and `IPV6_V6ONLY`,
//! which /proc does not show.

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
const REQUEST_DUMP: u16 = 0x301;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_SKV6ONLY: u16 = 11;
const IPPROTO_TCP: u8 = 6;
const TCP_LISTEN: u32 = 10;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Bytes of `struct nlmsghdr`, `struct inet_diag_msg` and a request.
const HEADER: usize = 16;
const MESSAGE: usize = 72;
const ASKING: usize = HEADER + 56;

/// The listeners of the namespace that a process lives in. Another than ours is entered by a
/// thread of its own, which ends with it; that needs `CAP_SYS_ADMIN`.
pub fn listeners(pid: Pid, netns: Netns) -> io::Result<Vec<Bound>> {
    if proc::netns(Pid(std::process::id())) == Some(netns) {
        return dump();
    }
    let namespace = File::open(proc::path(pid, "ns/net"))?;
    let visit = std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        dump()
    });
    visit
        .join()
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

fn dump() -> io::Result<Vec<Bound>> {
    let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
    let socket = socket_with(family, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    for family in [AF_INET, AF_INET6] {
        send(&socket, &request(family), SendFlags::empty())?;
        loop {
            let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
            if !messages(&buffer[..length], &mut found)? {
                break;
            }
        }
    }
    Ok(found)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: every TCP listener of a family.
fn request(family: u8) -> [u8; ASKING] {
    let mut request = [0; ASKING];
    request[..4].copy_from_slice(&(ASKING as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    request[16] = family;
    request[17] = IPPROTO_TCP;
    request[20..24].copy_from_slice(&(1u32 << TCP_LISTEN).to_ne_bytes());
    request
}

/// Takes in one datagram; `false` after the last.
fn messages(mut bytes: &[u8], found: &mut Vec<Bound>) -> io::Result<bool> {
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
            _ => found.extend(bound(message)),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(true)
}

/// `struct inet_diag_msg` and its attributes.
fn bound(message: &[u8]) -> Option<Bound> {
    let port = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    let address: [u8; 16] = message.get(8..24)?.try_into().ok()?;
    let ip = match *message.first()? {
        AF_INET => IpAddr::V4(Ipv4Addr::from(u32::from_be_bytes(
            message.get(8..12)?.try_into().ok()?,
        ))),
        _ => Ipv6Addr::from(address).to_canonical(),
    };
    let cookie = u64::from(u32_at(message, 44)?) | u64::from(u32_at(message, 48)?) << 32;
    Some(Bound {
        local: SocketAddr::new(ip, port),
        cookie: Cookie(cookie),
        queued: u32_at(message, 56)?,
        limit: u32_at(message, 60)?,
        inode: u32_at(message, 68)?.into(),
        v6_only: Some(attribute(message.get(MESSAGE..)?, INET_DIAG_SKV6ONLY) == Some(1)),
    })
}

/// The first byte of an attribute (`struct rtattr`).
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<u8> {
    loop {
        let (length, kind) = (usize::from(u16_at(bytes, 0)?), u16_at(bytes, 2)?);
        if kind == wanted {
            return bytes.get(4).copied();
        }
        bytes = bytes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
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
        assert!(messages(&answer(), &mut found).expect("no error"));
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
        assert!(!messages(&done, &mut Vec::new()).expect("no error"));
        let mut error = answer();
        error[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        error[16..20].copy_from_slice(&(-1i32).to_ne_bytes());
        let error = messages(&error, &mut Vec::new()).expect_err("an error");
        assert_eq!(error.raw_os_error(), Some(1));
    }

    #[test]
    fn a_cut_answer_is_no_listener() {
        let whole = answer();
        for length in 0..whole.len() {
            let mut found = Vec::new();
            assert!(messages(&whole[..length], &mut found).expect("no error"));
            assert!(found.is_empty());
        }
    }
}
