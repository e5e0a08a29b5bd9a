//! The listeners that were there before: every network namespace's sockets, with their owners.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use probe502_core::event::{Listener, Task, UnixListener};
use probe502_core::units::{Cookie, Netns, Pid};

use super::paths::{self, Listening};
use super::{diag, proc};

/// Every listening TCP socket of the host whose owner /proc shows.
pub fn listeners() -> Vec<Listener> {
    let pids = proc::pids();
    let dumps = dumps(&pids);
    let wanted: BTreeSet<u64> = dumps.values().flatten().map(|bound| bound.inode).collect();
    let holders = holders(&pids, Some(&wanted));
    let mut found = Vec::new();
    for (netns, bounds) in &dumps {
        for bound in bounds {
            let held = holders.get(&bound.inode).map_or(&[][..], Vec::as_slice);
            let tasks: Vec<Task> = held.iter().copied().filter_map(proc::task).collect();
            let Some(task) = owner(&tasks) else {
                continue;
            };
            found.push(Listener {
                netns: *netns,
                cookie: bound.cookie,
                local: bound.local,
                task: task.clone(),
                dying: false,
                v6_only: v6_only(bound, bounds),
                queued: bound.queued,
                limit: bound.limit,
                before: true,
            });
        }
    }
    found
}

/// What the host's UNIX sockets show.
#[derive(Default)]
pub struct UnixSockets {
    /// Every listening one that has a path and whose owner /proc shows.
    pub listeners: Vec<UnixListener>,
    /// Who holds connections that it dialled, or inherited.
    pub diallers: BTreeSet<Pid>,
}

/// Looks through all network namespaces.
pub fn unix_sockets() -> UnixSockets {
    let pids = proc::pids();
    let mut places = BTreeMap::new();
    for pid in &pids {
        if let Some(netns) = proc::netns(*pid) {
            places.entry(netns).or_insert(*pid);
        }
    }
    let mut found = UnixSockets::default();
    let listening = |(netns, pid): (&Netns, &Pid)| (*netns, paths::listeners((*pid, *netns)));
    let all: Vec<(Netns, Vec<Listening>)> = places.iter().map(listening).collect();
    let dialling = |(netns, pid): (&Netns, &Pid)| paths::dialled((*pid, *netns));
    let dialled: BTreeSet<u64> = places.iter().flat_map(dialling).collect();
    let inodes = all.iter().flat_map(|(_, found)| found);
    let wanted = inodes
        .map(|(_, inode)| *inode)
        .chain(dialled.iter().copied());
    let holders = holders(&pids, Some(&wanted.collect()));
    for (netns, listening) in all {
        for (path, inode) in listening {
            let held = holders.get(&inode).map_or(&[][..], Vec::as_slice);
            let tasks: Vec<Task> = held.iter().copied().filter_map(proc::task).collect();
            found
                .listeners
                .extend(owner(&tasks).map(|task| UnixListener {
                    netns,
                    pid: task.pid,
                    path,
                    before: true,
                }));
        }
    }
    let of_dialled = holders.iter().filter(|(inode, _)| dialled.contains(inode));
    found.diallers = of_dialled.flat_map(|(_, pids)| pids).copied().collect();
    found
}

/// A listening socket without its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub local: SocketAddr,
    /// 0 where only /proc told.
    pub cookie: Cookie,
    pub queued: u32,
    /// 0 where only /proc told.
    pub limit: u32,
    pub inode: u64,
    /// `None` where only /proc told.
    pub v6_only: Option<bool>,
}

/// One dump per namespace, taken through the first of its processes that is still there.
fn dumps(pids: &[Pid]) -> BTreeMap<Netns, Vec<Bound>> {
    let mut dumps = BTreeMap::new();
    for pid in pids {
        let Some(netns) = proc::netns(*pid).filter(|netns| !dumps.contains_key(netns)) else {
            continue;
        };
        let dump = diag::listeners(*pid, netns).or_else(|_| from_proc(*pid));
        if let Ok(dump) = dump {
            dumps.insert(netns, dump);
        }
    }
    dumps
}

/// What is left to a process that may not enter the namespace.
fn from_proc(pid: Pid) -> std::io::Result<Vec<Bound>> {
    let v4 = fs::read_to_string(proc::path(pid, "net/tcp"))?;
    // A kernel without IPv6 has no such file.
    let v6 = fs::read_to_string(proc::path(pid, "net/tcp6")).unwrap_or_default();
    Ok(v4.lines().chain(v6.lines()).filter_map(bound).collect())
}

/// Who holds each socket, or each wanted one.
pub fn holders(pids: &[Pid], wanted: Option<&BTreeSet<u64>>) -> BTreeMap<u64, Vec<Pid>> {
    let mut holders: BTreeMap<u64, Vec<Pid>> = BTreeMap::new();
    for pid in pids {
        for inode in held(*pid, wanted) {
            holders.entry(inode).or_default().push(*pid);
        }
    }
    holders
}

/// The listener that takes connections to an address: one bound to it before one bound to all.
pub fn covering(bounds: &[Bound], address: SocketAddr) -> Option<&Bound> {
    let fits = |bound: &&Bound| {
        let (own, asked) = (bound.local.ip(), address.ip());
        let both = own.is_ipv6() && bound.v6_only == Some(false);
        bound.local.port() == address.port()
            && (own == asked || own.is_unspecified() && (own.is_ipv4() == asked.is_ipv4() || both))
    };
    let fitting = bounds.iter().filter(fits);
    fitting.min_by_key(|bound| (bound.local.ip().is_unspecified(), bound.local.is_ipv6()))
}

/// The other end of the connection with this inode, from its line.
pub fn connected(line: &str, inode: u64) -> Option<SocketAddr> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if fields.get(9)?.parse() != Ok(inode) {
        return None;
    }
    let (address, port) = fields.get(2)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16)
        .ok()
        .filter(|port| *port > 0)?;
    Some(SocketAddr::new(ip(address)?, port))
}

fn held(pid: Pid, wanted: Option<&BTreeSet<u64>>) -> BTreeSet<u64> {
    let Ok(files) = fs::read_dir(proc::path(pid, "fd")) else {
        return BTreeSet::new();
    };
    let links = files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok());
    let inodes = links.filter_map(|link| proc::bracketed(link.to_str()?, "socket:"));
    let fits = |inode: &u64| wanted.is_none_or(|wanted| wanted.contains(inode));
    inodes.filter(fits).collect()
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
    if let Some(told) = bound.v6_only {
        return told;
    }
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
        cookie: Cookie(0),
        queued: u32::from_str_radix(queued, 16).ok()?,
        limit: 0,
        inode: fields.get(9)?.parse().ok()?,
        v6_only: None,
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

    fn at(local: &str, inode: u64) -> Bound {
        let local = local.parse().expect("address");
        Bound {
            local,
            cookie: Cookie(0),
            queued: 0,
            limit: 0,
            inode,
            v6_only: None,
        }
    }

    #[test]
    fn a_listener_is_read_from_its_line() {
        let line = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000002 00:00000000 00000000  1000        0 48261 1 0";
        let expected = Bound {
            queued: 2,
            ..at("127.0.0.1:8000", 48261)
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
        let at = |local| at(local, 1);
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
        let found = found.expect("found");
        assert_eq!(found.task.pid, Pid(std::process::id()));
        assert!(found.cookie != Cookie(0) && found.limit > 0);
    }

    #[test]
    fn a_connections_other_end_is_read_from_its_line() {
        let line = "   2: 0100007F:1F40 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000  1000        0 48999 1 0";
        assert_eq!(connected(line, 48999), "127.0.0.1:54000".parse().ok());
        assert_eq!(connected(line, 48998), None);
        assert_eq!(connected(HEADING, 48999), None);
    }

    #[test]
    fn the_most_exact_listener_takes_a_connection() {
        let all = [at("0.0.0.0:80", 1), at("10.0.0.1:80", 2), at("[::]:81", 3)];
        let inode = |address: &str| {
            let address = address.parse().expect("address");
            covering(&all, address).map(|bound| bound.inode)
        };
        assert_eq!(inode("10.0.0.1:80"), Some(2));
        assert_eq!(inode("10.0.0.2:80"), Some(1));
        assert_eq!(inode("[::1]:81"), Some(3));
        assert_eq!(inode("10.0.0.1:81"), None);
    }
}
