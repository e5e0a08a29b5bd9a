//! The listeners that were there before: every network namespace's sockets, with their owners.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use probe502_core::event::{Listener, Task};
use probe502_core::units::{Cookie, Netns, Pid};

use super::proc;

/// Every listening TCP socket of the host whose owner /proc shows.
pub fn listeners() -> Vec<Listener> {
    let pids = proc::pids();
    let dumps = dumps(&pids);
    let wanted: BTreeSet<u64> = dumps.values().flatten().map(|bound| bound.inode).collect();
    let holders = holders(&pids, &wanted);
    let mut found = Vec::new();
    for (netns, bounds) in &dumps {
        for bound in bounds {
            let Some(task) = holders.get(&bound.inode).and_then(|holders| owner(holders)) else {
                continue;
            };
            found.push(Listener {
                netns: *netns,
                cookie: Cookie(0),
                local: bound.local,
                task: task.clone(),
                dying: false,
                v6_only: v6_only(bound, bounds),
                queued: bound.queued,
                limit: 0,
                before: true,
            });
        }
    }
    found
}

/// A line of /proc/net/tcp in state LISTEN.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bound {
    local: SocketAddr,
    queued: u32,
    inode: u64,
}

/// One dump per namespace, taken through the first of its processes that is still there.
fn dumps(pids: &[Pid]) -> BTreeMap<Netns, Vec<Bound>> {
    let mut dumps = BTreeMap::new();
    for pid in pids {
        let Some(netns) = proc::netns(*pid).filter(|netns| !dumps.contains_key(netns)) else {
            continue;
        };
        let Ok(v4) = fs::read_to_string(proc::path(*pid, "net/tcp")) else {
            continue;
        };
        // A kernel without IPv6 has no such file.
        let v6 = fs::read_to_string(proc::path(*pid, "net/tcp6")).unwrap_or_default();
        dumps.insert(
            netns,
            v4.lines().chain(v6.lines()).filter_map(bound).collect(),
        );
    }
    dumps
}

/// Who holds each wanted socket.
fn holders(pids: &[Pid], wanted: &BTreeSet<u64>) -> BTreeMap<u64, Vec<Task>> {
    let mut holders: BTreeMap<u64, Vec<Task>> = BTreeMap::new();
    for pid in pids {
        let held = held(*pid, wanted);
        let Some(task) = (!held.is_empty()).then(|| proc::task(*pid)).flatten() else {
            continue;
        };
        for inode in held {
            holders.entry(inode).or_default().push(task.clone());
        }
    }
    holders
}

fn held(pid: Pid, wanted: &BTreeSet<u64>) -> BTreeSet<u64> {
    let Ok(files) = fs::read_dir(proc::path(pid, "fd")) else {
        return BTreeSet::new();
    };
    let links = files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok());
    let inodes = links.filter_map(|link| proc::bracketed(link.to_str()?, "socket:"));
    inodes.filter(|inode| wanted.contains(inode)).collect()
}

/// The holder whose parent does not hold it too: the master, not a worker that inherited it.
fn owner(holders: &[Task]) -> Option<&Task> {
    let held_by = |pid: Pid| holders.iter().any(|other| other.pid == pid);
    holders
        .iter()
        .find(|task| !held_by(task.parent))
        .or_else(|| holders.first())
}

/// /proc does not show `IPV6_V6ONLY`; but with it only can both families have the same port.
fn v6_only(bound: &Bound, all: &[Bound]) -> bool {
    let twin = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), bound.local.port());
    bound.local.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        && all.iter().any(|other| other.local == twin)
}

/// `TCP_LISTEN` of `net/tcp_states.h`, as /proc/net/tcp writes it.
const LISTEN: &str = "0A";

/// proc_pid_net(5): `sl local rem st tx:rx tr:when retrnsmt uid timeout inode …`.
fn bound(line: &str) -> Option<Bound> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != LISTEN {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    let (_, queued) = fields.get(4)?.split_once(':')?;
    Some(Bound {
        local: SocketAddr::new(ip(address)?, u16::from_str_radix(port, 16).ok()?),
        queued: u32::from_str_radix(queued, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Addresses are written as 32-bit words in the machine's own byte order.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok();
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes()))),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?.to_ne_bytes());
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when";

    #[test]
    fn a_listener_is_read_from_its_line() {
        let line = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000002 00:00000000 00000000  1000        0 48261 1 0";
        let expected = Bound {
            local: "127.0.0.1:8000".parse().expect("address"),
            queued: 2,
            inode: 48261,
        };
        assert_eq!(bound(line), Some(expected));
    }

    #[test]
    fn an_ipv6_listener_is_read_from_its_line() {
        let line = "   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0";
        assert_eq!(
            bound(line).map(|bound| bound.local),
            "[::1]:80".parse().ok()
        );
    }

    #[test]
    fn other_lines_are_none() {
        let established = "   2: 0100007F:1F40 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000  1000        0 48999 1 0";
        for line in [
            HEADING,
            established,
            "",
            "0: 0A 0A 0A",
            "0: zz:1F40 0 0A 0:0 0 0 0 0 1",
        ] {
            assert_eq!(bound(line), None, "{line}");
        }
    }

    #[test]
    fn the_master_owns_what_its_workers_inherited() {
        let task = |pid, parent| Task {
            pid: Pid(pid),
            parent: Pid(parent),
            ..Task::default()
        };
        let holders = [task(40, 90), task(41, 90), task(90, 1)];
        assert_eq!(owner(&holders).map(|task| task.pid), Some(Pid(90)));
        assert_eq!(owner(&[]), None);
    }

    #[test]
    fn a_v4_twin_shows_that_a_v6_listener_serves_v6_only() {
        let at = |local: &str| Bound {
            local: local.parse().expect("address"),
            queued: 0,
            inode: 1,
        };
        let (v6, v4) = (at("[::]:80"), at("0.0.0.0:80"));
        assert!(v6_only(&v6, &[v4.clone(), v6.clone()]));
        assert!(!v6_only(&v6, &[at("0.0.0.0:81"), v6.clone()]));
        assert!(!v6_only(&v4, &[v4.clone(), v6]));
    }

    #[test]
    fn this_process_own_listener_is_found() {
        let own = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = own.local_addr().expect("bound");
        let found = listeners()
            .into_iter()
            .find(|listener| listener.local == address);
        assert_eq!(found.expect("found").task.pid, Pid(std::process::id()));
    }
}
