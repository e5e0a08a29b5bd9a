//! What a second look shows: facts that the core asks for once an answer has failed.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::recent::Recent;
use crate::units::{Netns, Pid, Timestamp};

/// States of a connection whose holder has not let go of it: ESTABLISHED, CLOSE_WAIT
/// (`net/tcp_states.h`).
const OPEN: [u8; 2] = [1, 8];

/// The upstream's end of a connection, as the socket dump shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// The namespace that was looked at.
    pub netns: Netns,
    /// The upstream's address.
    pub local: SocketAddr,
    /// The gateway's address.
    pub remote: SocketAddr,
    /// Its TCP state, by the kernel's number; 0 where there is no such socket.
    #[serde(default)]
    pub state: u8,
    /// `accept(2)` has returned it: it has an inode.
    #[serde(default)]
    pub held: bool,
    /// Bytes that it has received in its life.
    #[serde(default)]
    pub received: u64,
    /// When the last of them arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<Timestamp>,
    /// Bytes of them that its holder has not read.
    #[serde(default)]
    pub unread: u32,
    /// Bytes that its holder wrote and the other end has not acknowledged.
    #[serde(default)]
    pub unsent: u32,
    /// Processes that hold it, as far as /proc showed.
    #[serde(default)]
    pub holders: Vec<Pid>,
}

impl Peer {
    /// It is there, and nobody has let go of it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        OPEN.contains(&self.state)
    }
}

/// A listener's accept queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// The namespace that was looked at.
    pub netns: Netns,
    /// The address that was asked for.
    pub remote: SocketAddr,
    /// The address that the listener is bound to.
    pub local: SocketAddr,
    /// Connections that wait to be accepted.
    #[serde(default)]
    pub queued: u32,
    /// How many may wait; the kernel lets in one more.
    #[serde(default)]
    pub limit: u32,
    /// Processes that hold the listener, as far as /proc showed.
    #[serde(default)]
    pub holders: Vec<Pid>,
}

/// What a process is doing at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Doing {
    /// The process.
    pub pid: Pid,
    /// The state of its most telling thread, as proc_pid_stat(5) names it: R, S, D, T, t, Z.
    pub state: char,
    /// Its threads.
    #[serde(default)]
    pub threads: u32,
    /// Threads that run or want to (R).
    #[serde(default)]
    pub running: u32,
    /// Threads that wait for a device and cannot be interrupted (D).
    #[serde(default)]
    pub blocked: u32,
    /// The system calls that its threads sleep in, the most frequent first: `5 futex`.
    #[serde(default)]
    pub calls: Vec<String>,
    /// What the most telling thread's call is about: another service's address, a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Its cgroup is frozen.
    #[serde(default)]
    pub frozen: bool,
    /// The kernel writes its core dump.
    #[serde(default)]
    pub dumping: bool,
    /// It is on its way out (`PF_EXITING`), or has ended and waits for its parent.
    #[serde(default)]
    pub exiting: bool,
    /// Who traces it: a debugger.
    #[serde(default)]
    pub tracer: Pid,
    /// The processor time that its cgroup may use, thousandths of one processor; 0 no limit.
    #[serde(default)]
    pub allowed: u32,
    /// Periods, in a hundred of its cgroup's life, in which that limit held it back.
    #[serde(default)]
    pub throttled: u32,
}

impl Doing {
    /// It wants the processor or a device, or is leaving: what it is about to do is not done.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.exiting || self.running > 0 || self.blocked > 0
    }
}

/// A process's open files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Descriptors {
    /// The process.
    pub pid: Pid,
    /// How many are open: of a process that has ended, none.
    #[serde(default)]
    pub open: u32,
    /// How many may be (`RLIMIT_NOFILE`, soft).
    #[serde(default)]
    pub most: u64,
}

/// A namespace's ephemeral ports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ports {
    /// The namespace.
    pub netns: Netns,
    /// The address that was dialled.
    pub remote: SocketAddr,
    /// `net.ipv4.ip_local_port_range`.
    #[serde(default)]
    pub first: u16,
    /// See `first`.
    #[serde(default)]
    pub last: u16,
    /// Sockets of every state, TIME_WAIT too, whose other end is that address.
    #[serde(default)]
    pub used: u32,
}

/// How long a look may explain an answer.
const MEMORY: Duration = Duration::from_secs(60);

/// What was seen lately.
#[derive(Debug)]
pub struct Looks {
    peers: Recent<(SocketAddr, SocketAddr, Netns), (Timestamp, Peer)>,
    queues: Recent<(Netns, SocketAddr), (Timestamp, Queue)>,
    doings: Recent<Pid, (Timestamp, Doing)>,
    descriptors: Recent<Pid, (Timestamp, Descriptors)>,
    ports: Recent<(Netns, SocketAddr), (Timestamp, Ports)>,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            peers: Recent::new(4096, MEMORY),
            queues: Recent::new(1024, MEMORY),
            doings: Recent::new(1024, MEMORY),
            descriptors: Recent::new(1024, MEMORY),
            ports: Recent::new(256, MEMORY),
        }
    }
}

impl Looks {
    /// Remembers an upstream's end.
    pub fn see_peer(&mut self, at: Timestamp, peer: Peer) {
        let key = (peer.local, peer.remote, peer.netns);
        self.peers.insert(at, key, (at, peer));
    }

    /// Remembers an accept queue.
    pub fn see_queue(&mut self, at: Timestamp, queue: Queue) {
        let key = (queue.netns, queue.remote);
        self.queues.insert(at, key, (at, queue));
    }

    /// Remembers what a process was doing.
    pub fn see_doing(&mut self, at: Timestamp, doing: Doing) {
        self.doings.insert(at, doing.pid, (at, doing));
    }

    /// Remembers how many files a process had open.
    pub fn see_descriptors(&mut self, at: Timestamp, descriptors: Descriptors) {
        let key = descriptors.pid;
        self.descriptors.insert(at, key, (at, descriptors));
    }

    /// Remembers how many ports were in use.
    pub fn see_ports(&mut self, at: Timestamp, ports: Ports) {
        let key = (ports.netns, ports.remote);
        self.ports.insert(at, key, (at, ports));
    }

    /// The upstream's end of a connection, where a look since a moment found it still open.
    #[must_use]
    pub fn peer(
        &self,
        (local, remote): (SocketAddr, SocketAddr),
        since: Timestamp,
    ) -> Option<&(Timestamp, Peer)> {
        let (first, last) = ((local, remote, Netns(0)), (local, remote, Netns(u32::MAX)));
        let all = self.peers.between(first, last).map(|(_, seen)| seen);
        let mut open = all.filter(|(at, peer)| *at >= since && peer.is_open());
        let found = open.next()?;
        // One address in two namespaces may name two sockets: then neither is known to be it.
        open.next().is_none().then_some(found)
    }

    /// A listener's queue by its namespace and the address that was asked for.
    #[must_use]
    pub fn queue(
        &self,
        (netns, address): (Netns, SocketAddr),
        since: Timestamp,
    ) -> Option<&(Timestamp, Queue)> {
        let seen = self.queues.get(&(netns, address));
        seen.filter(|(at, _)| *at >= since)
    }

    /// What a process was last seen doing.
    #[must_use]
    pub fn doing(&self, pid: Pid, since: Timestamp) -> Option<&(Timestamp, Doing)> {
        self.doings.get(&pid).filter(|(at, _)| *at >= since)
    }

    /// How many files a process last had open.
    #[must_use]
    pub fn descriptors(&self, pid: Pid, since: Timestamp) -> Option<&(Timestamp, Descriptors)> {
        self.descriptors.get(&pid).filter(|(at, _)| *at >= since)
    }

    /// How many ports were in use towards an address.
    #[must_use]
    pub fn ports(
        &self,
        (netns, address): (Netns, SocketAddr),
        since: Timestamp,
    ) -> Option<&(Timestamp, Ports)> {
        let seen = self.ports.get(&(netns, address));
        seen.filter(|(at, _)| *at >= since)
    }
}
