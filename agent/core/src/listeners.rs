//! Who listens where, who did, and what that says about an address that refused.

pub mod owners;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::event::{Listener, Process, Task};
use crate::processes::Processes;
use crate::recent::Recent;
use crate::seeking::Refusal;
use crate::units::{Netns, Timestamp};

/// Open listeners that are remembered; beyond, new ones are not known.
const OPEN: usize = 16_384;
/// Ports that only a host's own services use are no candidates for a service that moved.
const UNPRIVILEGED: u16 = 1024;
/// Programs that are never the web service that a gateway meant. A judgement of ours.
const INFRASTRUCTURE: [&str; 22] = [
    "sshd",
    "systemd",
    "systemd-resolve",
    "dnsmasq",
    "chronyd",
    "cupsd",
    "rpcbind",
    "master",
    "containerd",
    "dockerd",
    "docker-proxy",
    "kubelet",
    "kube-proxy",
    "etcd",
    "node_exporter",
    "prometheus",
    "postgres",
    "mysqld",
    "mariadbd",
    "redis-server",
    "memcached",
    "mongod",
];

/// A listener that is open.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// Since when it is known: the dump's moment for those that were there before.
    pub at: Timestamp,
    /// The listener; its task opened it.
    pub listener: Listener,
}

/// A listener that has closed.
#[derive(Clone, Debug, PartialEq)]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// The listener; its task closed it.
    pub listener: Listener,
    /// Who opened it, where that was seen.
    pub opener: Option<Task>,
    /// Since when it had been open; zero where it was there before.
    opened: Timestamp,
}

/// What the listeners say about an address that refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// A listener covers it, and did so when it refused.
    Taken,
    /// A listener covers it now, but came later.
    Later(Open),
    /// One closed before.
    Closed(Closed),
    /// The port is taken on an address that does not cover it.
    OtherAddress(Open),
    /// The process that was there listens on another port now.
    Moved(Open),
    /// The service that was there listens on another port now.
    SameService(Open),
    /// The namespace has one other service, and is not the gateway's own.
    OnlyOther(Open),
    /// The gateway's own namespace has one other service, which may be anyone's.
    Neighbour(Open),
    /// Nothing.
    Nothing,
}

/// Every listener of the host, by namespace and port.
#[derive(Debug)]
pub struct Listeners {
    open: BTreeMap<(Netns, u16), Vec<Open>>,
    count: usize,
    closed: Recent<(Netns, u16, Timestamp, u64), Closed>,
    next: u64,
}

impl Default for Listeners {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self {
            open: BTreeMap::new(),
            count: 0,
            closed: Recent::new(4096, day),
            next: 0,
        }
    }
}

impl Listeners {
    /// One opened, or was there.
    pub fn open(&mut self, at: Timestamp, listener: Listener) {
        let there = self
            .open
            .entry((listener.netns, listener.local.port()))
            .or_default();
        let known = |open: &Open| {
            let same = open.listener.local == listener.local;
            same && (open.listener.cookie == listener.cookie && listener.cookie.0 != 0
                || listener.before && open.listener.task.pid == listener.task.pid)
        };
        if !there.iter().any(known) && self.count < OPEN {
            there.push(Open { at, listener });
            self.count += 1;
        }
    }

    /// One closed.
    pub fn close(&mut self, at: Timestamp, listener: Listener) {
        let listener = self.with_port(listener);
        let place = (listener.netns, listener.local.port());
        let there = self.open.entry(place).or_default();
        let position = |cookie| {
            there.iter().position(|open| {
                open.listener.local == listener.local && open.listener.cookie == cookie
            })
        };
        // Where the dump had no cookies.
        let found = position(listener.cookie).or_else(|| position(crate::units::Cookie(0)));
        let open = found.map(|index| there.remove(index));
        let known = open.as_ref().filter(|open| !open.listener.before);
        let opened = known.map(|open| open.at).unwrap_or_default();
        let opener = open.map(|open| open.listener.task);
        self.count -= usize::from(opener.is_some());
        if there.is_empty() {
            self.open.remove(&place);
        }
        self.next += 1;
        let key = (place.0, place.1, at, self.next);
        self.closed.insert(
            at,
            key,
            Closed {
                at,
                listener,
                opener,
                opened,
            },
        );
    }

    /// The kernel forgets at the end a port that it had chosen itself; the cookie still names it.
    fn with_port(&self, mut listener: Listener) -> Listener {
        if listener.local.port() == 0 && listener.cookie.0 != 0 {
            let mut here = self.open_in(listener.netns);
            if let Some(open) = here.find(|open| open.listener.cookie == listener.cookie) {
                listener.local = open.listener.local;
            }
        }
        listener
    }

    /// The listener that covers an address.
    #[must_use]
    pub fn covering(&self, netns: Netns, address: SocketAddr) -> Option<&Open> {
        let there = self.open.get(&(netns, address.port()))?;
        there
            .iter()
            .find(|open| covers(&open.listener, address.ip()))
    }

    /// The listener that covers an address in any namespace, where only one does.
    #[must_use]
    pub fn only_covering(&self, address: SocketAddr) -> Option<&Open> {
        let mut all = self.serving(address);
        let first = all.next()?;
        all.next().is_none().then_some(first)
    }

    /// Every listener that covers an address, in any namespace.
    pub fn serving(&self, address: SocketAddr) -> impl Iterator<Item = &Open> {
        self.open.values().flatten().filter(move |open| {
            open.listener.local.port() == address.port() && covers(&open.listener, address.ip())
        })
    }

    /// The listeners of a process, of its master, or of another worker of that master.
    pub fn of(&self, task: &Task) -> impl Iterator<Item = &Open> {
        let is_own = |other: &Task| {
            let sibling = other.parent == task.parent && other.comm == task.comm;
            other.pid == task.pid || other.pid == task.parent || sibling && task.parent.0 > 1
        };
        self.open
            .values()
            .flatten()
            .filter(move |open| is_own(&open.listener.task))
    }

    /// Whether an address belongs to this host, as far as its listeners show.
    #[must_use]
    pub fn shows(&self, address: IpAddr) -> bool {
        let bound = |listener: &Listener| listener.local.ip() == address;
        self.open
            .values()
            .flatten()
            .any(|open| bound(&open.listener))
    }

    /// What is known of an address that refused at a moment; the kernel itself may have found nobody there.
    #[must_use]
    pub fn place(
        &self,
        (netns, address, refusal): (Netns, SocketAddr, Refusal),
        gateway: &Task,
        processes: &Processes,
    ) -> Place {
        let Refusal { at, unfound } = refusal;
        let here = self
            .open
            .get(&(netns, address.port()))
            .map_or(&[][..], Vec::as_slice);
        let (covering, others): (Vec<&Open>, Vec<&Open>) = here
            .iter()
            .partition(|open| covers(&open.listener, address.ip()));
        if covering.iter().any(|open| open.at.plus(unfound) <= at) {
            return Place::Taken;
        }
        let last = self.last_closed(netns, address, refusal);
        // Its own address is no place for a gateway to be sent to.
        let mut others = others
            .into_iter()
            .filter(|open| open.at <= at && !is_gateways(&open.listener.task, gateway));
        match (covering.first(), last) {
            (Some(open), None) => return Place::Later((*open).clone()),
            (_, Some(closed)) => {
                if let Some(open) = others.find(|open| open.at >= closed.at) {
                    return Place::OtherAddress(open.clone());
                }
                if let Some(open) = self.moved_itself(closed) {
                    return Place::Moved(open);
                }
                let moved = self.moved(closed, processes);
                return moved.map_or_else(|| Place::Closed(closed.clone()), Place::SameService);
            }
            (None, None) => {}
        }
        if let Some(open) = others.next() {
            return Place::OtherAddress(open.clone());
        }
        self.only_other(netns, gateway, processes)
            .map_or(Place::Nothing, Place::OnlyOther)
    }

    fn last_closed(
        &self,
        netns: Netns,
        address: SocketAddr,
        Refusal { at, unfound }: Refusal,
    ) -> Option<&Closed> {
        let port = address.port();
        let until = at.plus(unfound);
        let (first, last) = (
            (netns, port, Timestamp(0), 0),
            (netns, port, until, u64::MAX),
        );
        let mut closed = self
            .closed
            .between(first, last)
            .rev()
            .map(|(_, closed)| closed);
        closed.find(|closed| covers(&closed.listener, address.ip()) && closed.opened <= at)
    }

    /// Where the very process that left listens since.
    fn moved_itself(&self, closed: &Closed) -> Option<Open> {
        let left = &closed.listener;
        let mut since = self.open_in(left.netns).filter(|open| {
            let task = &open.listener.task;
            let opener = closed.opener.as_ref().map(|opener| opener.pid);
            open.at >= closed.at
                && open.listener.local.port() != left.local.port()
                && (task.pid == left.task.pid || Some(task.pid) == opener)
        });
        since.next().cloned()
    }

    /// The same service, listening elsewhere since it left: by container or unit, never by name only.
    fn moved(&self, closed: &Closed, processes: &Processes) -> Option<Open> {
        let owner = closed.opener.as_ref().unwrap_or(&closed.listener.task);
        let owner = processes.known(owner.pid)?;
        let netns = closed.listener.netns;
        let mut others = self.open_in(netns).filter(|open| {
            let pid = open.listener.task.pid;
            let other = processes.known(pid);
            open.at >= closed.at
                && open.listener.local.port() != closed.listener.local.port()
                && other.is_some_and(|other| is_same_service(owner, other))
        });
        let first = others.next()?;
        others.next().is_none().then(|| first.clone())
    }

    fn only_other(&self, netns: Netns, gateway: &Task, processes: &Processes) -> Option<Open> {
        let mut others = self.open_in(netns).filter(|open| {
            let task = &open.listener.task;
            let comm = processes
                .known(task.pid)
                .map_or(&task.comm, |known| &known.comm);
            open.listener.local.port() >= UNPRIVILEGED
                && !is_gateways(task, gateway)
                && !INFRASTRUCTURE.contains(&comm.as_str())
        });
        let first = others.next()?;
        let port = first.listener.local.port();
        others
            .all(|open| open.listener.local.port() == port)
            .then(|| first.clone())
    }

    fn open_in(&self, netns: Netns) -> impl Iterator<Item = &Open> {
        self.open
            .range((netns, 0)..=(netns, u16::MAX))
            .flat_map(|(_, open)| open)
    }
}

fn is_gateways(task: &Task, gateway: &Task) -> bool {
    task.pid == gateway.pid || task.pid == gateway.parent || task.comm == gateway.comm
}

fn is_same_service(left: &Process, right: &Process) -> bool {
    let same = |left: &Option<String>, right: &Option<String>| left.is_some() && left == right;
    let service = left
        .unit
        .as_ref()
        .is_some_and(|unit| unit.ends_with(".service"));
    left.comm == right.comm
        && left.script == right.script
        && (same(&left.container, &right.container) || service && left.unit == right.unit)
}

/// Whether a listener takes connections to an address.
#[must_use]
pub fn covers(listener: &Listener, address: IpAddr) -> bool {
    match (listener.local.ip(), address) {
        (own, address) if own == address => true,
        (IpAddr::V4(own), IpAddr::V4(_)) => own.is_unspecified(),
        (IpAddr::V6(own), IpAddr::V6(_)) => own.is_unspecified(),
        (IpAddr::V6(own), IpAddr::V4(_)) => own.is_unspecified() && !listener.v6_only,
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    }
}

#[cfg(test)]
mod tests;
