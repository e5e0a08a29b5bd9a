//! The core's wishes, answered: sockets by the dump, processes by /proc.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use probe502_core::asking::Wish;
use probe502_core::event::{Fact, Process};
use probe502_core::looks::{Peer, Ports, Queue};
use probe502_core::units::{Netns, Pid, Timestamp};
use probe502_core::unix::Looked;

use super::proc::Arguments;
use super::{diag, doing, paths, proc, sockets};

/// Looking through every process's files may take this share of the time, one in so many.
const SHARE: u32 = 8;
/// So long is a holder that was found taken for one still.
const FRESH: Duration = Duration::from_millis(500);

/// Where namespaces are, and who was found to hold sockets: what is dear to find is found once.
#[derive(Debug, Default)]
pub struct Looker {
    namespaces: BTreeMap<Netns, Pid>,
    /// Who holds each socket, as of the last look through all processes.
    holders: BTreeMap<u64, Vec<Pid>>,
    looked: Option<Instant>,
    rested: Option<Instant>,
    arguments: Arguments,
}

impl Looker {
    /// With command lines shown so.
    pub fn new(arguments: Arguments) -> Self {
        Self {
            arguments,
            ..Self::default()
        }
    }

    /// Who a process is; `None` once it has gone.
    pub fn identify(&self, pid: Pid) -> Option<Process> {
        proc::identify(pid, self.arguments)
    }

    /// What can be seen; nothing where it cannot be looked at.
    pub fn answer(&mut self, wish: Wish, now: Timestamp) -> Option<Fact> {
        match wish {
            Wish::Process(pid) => self.identify(pid).map(Fact::Process),
            Wish::Doing(pid) => doing::doing(pid).map(Fact::Doing),
            Wish::Descriptors(pid) => doing::descriptors(pid).map(Fact::Descriptors),
            Wish::Peer {
                netns,
                local,
                remote,
            } => self.peer(netns, (local, remote), now).map(Fact::Peer),
            Wish::Queue { netns, address } => self.queue(netns, address).map(Fact::Queue),
            Wish::Path { pid, path } => self.path(pid, path).map(Fact::Looked),
            Wish::Unix | Wish::Calls => None,
            Wish::Ports { netns, address } => self.ports(netns, address).map(Fact::Ports),
        }
    }

    fn peer(
        &mut self,
        netns: Netns,
        (local, remote): (std::net::SocketAddr, std::net::SocketAddr),
        now: Timestamp,
    ) -> Option<Peer> {
        let end = diag::end(self.place(netns)?, (local, remote)).ok()?;
        let quiet = Duration::from_millis(end.quiet_ms.into());
        let quiet = u64::try_from(quiet.as_nanos()).unwrap_or(u64::MAX);
        let heard = end.received > 0;
        Some(Peer {
            netns,
            local,
            remote,
            state: end.state,
            held: end.inode != 0,
            received: end.received,
            heard_at: heard.then(|| Timestamp(now.0.saturating_sub(quiet))),
            unread: end.unread,
            unsent: end.unsent,
            holders: self.who_holds(end.inode),
        })
    }

    fn queue(&mut self, netns: Netns, address: std::net::SocketAddr) -> Option<Queue> {
        let (pid, netns) = self.place(netns)?;
        let bounds = diag::listeners(pid, netns).ok()?;
        let bound = sockets::covering(&bounds, address)?;
        Some(Queue {
            netns,
            remote: address,
            local: bound.local,
            queued: bound.queued,
            limit: bound.limit,
            holders: self.who_holds(bound.inode),
        })
    }

    fn ports(&mut self, netns: Netns, remote: std::net::SocketAddr) -> Option<Ports> {
        let place = self.place(netns)?;
        let range = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let range = diag::within(place, range).ok()?;
        let mut ends = range.split_whitespace().map(|word| word.parse().ok());
        Some(Ports {
            netns,
            remote,
            first: ends.next()??,
            last: ends.next()??,
            used: diag::count(place, remote).ok()?,
        })
    }

    fn path(&mut self, pid: Pid, path: String) -> Option<Looked> {
        let mut places: Vec<_> = self
            .namespaces
            .iter()
            .map(|(netns, pid)| (*pid, *netns))
            .collect();
        places.extend(self.place(proc::netns(pid)?));
        places.extend(self.place(proc::netns(Pid(std::process::id()))?));
        let (looked, listener) = paths::look(pid, path, &places)?;
        Some(Looked {
            holders: self.who_holds(listener),
            ..looked
        })
    }

    /// A process that lives in a namespace, through which it is entered.
    fn place(&mut self, netns: Netns) -> Option<(Pid, Netns)> {
        let lives = |pid: &Pid| proc::netns(*pid) == Some(netns);
        let own = Pid(std::process::id());
        let known = self.namespaces.get(&netns).copied().filter(lives);
        let found = known
            .or_else(|| Some(own).filter(lives))
            .or_else(|| proc::pids().into_iter().find(lives));
        let pid = found?;
        self.namespaces
            .retain(|_, known| proc::netns(*known).is_some());
        self.namespaces.insert(netns, pid);
        Some((pid, netns))
    }

    /// The processes that hold a socket, as far as /proc shows: by the last look through all of
    /// them, or by a new one where it was not there yet and there is time for it.
    fn who_holds(&mut self, inode: u64) -> Vec<Pid> {
        let began = Instant::now();
        let rests = self.rested.is_some_and(|until| began < until);
        let known = self.holders.contains_key(&inode);
        if inode != 0 && !rests && !(known && self.is_fresh()) {
            self.holders = sockets::holders(&proc::pids(), None);
            self.looked = Some(Instant::now());
            self.rested = Some(Instant::now() + began.elapsed() * SHARE);
        }
        self.holders.get(&inode).cloned().unwrap_or_default()
    }

    fn is_fresh(&self) -> bool {
        self.looked.is_some_and(|when| when.elapsed() < FRESH)
    }
}
