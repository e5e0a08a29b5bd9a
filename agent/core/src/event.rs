//! The one language of every sense: what the kernel, the kernel log, /proc and the dump report.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use crate::framing::Framing;
use crate::looks::{Descriptors, Doing, Peer, Ports, Queue};
pub use crate::names::Lookup;
pub use crate::own_answer::Marks;
use crate::packets::Overflow;
pub use crate::senses::{Attached, Lost};
use crate::units::{Cookie, Errno, Head, Netns, Pid, Timestamp};
use crate::unix::{Call, Dialler, Looked, Served};
pub use crate::unix_listeners::UnixListener;
pub use crate::who::{Pod, Process};

/// A dated fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What can happen. Closed: a new sense adds an arm, and the compiler names what forgot it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    /// A gateway's failed answer left on an accepted connection.
    Answered(Box<Flow>),
    /// A task let go of a connection.
    Ended(Box<Flow>),
    /// A failed answer arrived on a dialled connection.
    Heard(Box<Flow>),
    /// This host sent a RST.
    Reset(Reset),
    /// A listener opened.
    Listens(Listener),
    /// A listener closed.
    Listened(Listener),
    /// A process ended.
    Death(Death),
    /// A signal was sent.
    Signal(Signal),
    /// The OOM killer chose a process.
    Victim(Victim),
    /// A packet was dropped, by a firewall or for want of a neighbour.
    Drop(Drop),
    /// A packet came to a listener whose queue was full.
    Overflow(Overflow),
    /// A process's name servers failed or kept silent.
    Lookup(Lookup),
    /// The kernel log told of an OOM kill.
    OomReport(OomReport),
    /// Who a process is, read from /proc.
    Process(Process),
    /// What a pod or a container is called in its cluster.
    Pod(Pod),
    /// The upstream's end of a connection, looked at.
    Peer(Peer),
    /// A listener's accept queue, looked at.
    Queue(Queue),
    /// What a process was doing, looked at.
    Doing(Doing),
    /// How many files a process had open, looked at.
    Descriptors(Descriptors),
    /// How many ephemeral ports were in use, looked at.
    Ports(Ports),
    /// A system call on sockets failed.
    Call(Call),
    /// A process dials UNIX sockets.
    Dialler(Dialler),
    /// Who listens on a UNIX path.
    UnixListens(UnixListener),
    /// A UNIX path that was dialled, looked at.
    Looked(Looked),
    /// Records were lost before they reached this language.
    Lost(Lost),
    /// The senses are at work from now on.
    Attached(Attached),
    /// Time passed with nothing to say; recordings keep it where it released a verdict.
    Tick,
}

/// A task at the moment that it acted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: u32,
    /// The parent process.
    pub parent: Pid,
    /// The user.
    pub uid: u32,
    /// The thread's name.
    pub comm: String,
}

/// Which end of a connection a socket is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Opened before the agent, and not to be told from what was seen.
    #[default]
    Unknown,
    /// Made by `connect(2)`.
    Dialled,
    /// Made by a listener.
    Accepted,
}

/// How a socket was let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It was not: the fact is about a message on a living connection.
    #[default]
    Open,
    /// With a FIN.
    Fin,
    /// With a RST, because bytes were unread.
    Unread,
    /// With a RST, because of `SO_LINGER` 0.
    Linger,
    /// With a RST, because its listener ended while it waited to be accepted.
    Queued,
    /// After the kernel had ended it: refusal, reset, timeout.
    Released,
}

/// One socket's life, as `probe502_common::Flow` says it; the fields' meanings are documented there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "documented at probe502_common::Flow and UnixFlow"
)]
pub struct Flow {
    pub netns: Netns,
    pub cookie: Cookie,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub role: Role,
    #[serde(default)]
    pub how: How,
    /// The acting task; `None` where the fact happened to the socket by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Who dialled it or first sent on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Task>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub established_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fin_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_before_at: Option<Timestamp>,
    #[serde(default)]
    pub said_bytes: u64,
    #[serde(default)]
    pub heard_bytes: u64,
    #[serde(default)]
    pub unread: u32,
    #[serde(default)]
    pub said: u32,
    #[serde(default)]
    pub heard: u32,
    #[serde(default)]
    pub scanned: u32,
    #[serde(default)]
    pub quiet_ms: u32,
    #[serde(default)]
    pub unheard_ms: u32,
    #[serde(default)]
    pub longest_idle_ms: u32,
    #[serde(default)]
    pub isn: u32,
    #[serde(default)]
    pub peer_isn: u32,
    #[serde(default)]
    pub retransmits: u32,
    #[serde(default)]
    pub unacked: u32,
    #[serde(default)]
    pub error: Errno,
    #[serde(default)]
    pub soft_error: Errno,
    #[serde(default)]
    pub icmp_origin: u8,
    #[serde(default)]
    pub icmp_type: u8,
    #[serde(default)]
    pub icmp_code: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The TCP state before the end, by the kernel's number.
    #[serde(default)]
    pub state: u8,
    #[serde(default)]
    pub late: bool,
    #[serde(default)]
    pub dying: bool,
    #[serde(default)]
    pub held: bool,
    #[serde(default)]
    pub established: bool,
    #[serde(default)]
    pub fin_heard: bool,
    #[serde(default)]
    pub reset_heard: bool,
    #[serde(default)]
    pub header_end_heard: bool,
    #[serde(default)]
    pub header_scanned: bool,
    #[serde(default)]
    pub continued: bool,
    #[serde(default)]
    pub inherited: bool,
    #[serde(default)]
    pub executing: bool,
    #[serde(default)]
    pub threads: u8,
    #[serde(default)]
    pub asked: bool,
    #[serde(default)]
    pub speaks_tls: bool,
    #[serde(default)]
    pub speaks_http: bool,
    #[serde(flatten)]
    pub marks: Marks,
    /// The attempt that its thread had let go of just before, 0 none.
    #[serde(default)]
    pub before: Cookie,
    /// Of a UNIX connection: its listener's path, `@` for an abstract one; the addresses are empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(flatten)]
    pub served: Served,
    #[serde(default)]
    pub said_head: Head,
    #[serde(default)]
    pub heard_head: Head,
}

/// A RST that this host sent. `local` is where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "documented at probe502_common::Reset")]
pub struct Reset {
    pub netns: Netns,
    /// The sending socket; 0 where none did.
    #[serde(default)]
    pub cookie: Cookie,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    #[serde(default)]
    pub role: Role,
    /// The kernel's name without its prefix: `NO_SOCKET`, `TCP_ABORT_ON_CLOSE` …; absent where
    /// this kernel gives no reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The sequence number of the packet that it answers.
    #[serde(default)]
    pub sequence: u32,
}

/// A listening socket that came or went, or was there when the agent looked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "documented at probe502_common::Listener")]
pub struct Listener {
    pub netns: Netns,
    #[serde(default)]
    pub cookie: Cookie,
    pub local: SocketAddr,
    pub task: Task,
    #[serde(default)]
    pub dying: bool,
    #[serde(default)]
    pub v6_only: bool,
    #[serde(default)]
    pub queued: u32,
    #[serde(default)]
    pub limit: u32,
    /// It was there before the agent: taken from the socket dump.
    #[serde(default)]
    pub before: bool,
}

/// A process that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Death {
    /// The process.
    pub task: Task,
    /// The exit status, where it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u8>,
    /// The signal that ended it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<u8>,
    /// The kernel wrote a core dump.
    #[serde(default)]
    pub core: bool,
    /// When it last began to answer on a connection that it had accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
}

/// A signal that was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Who sent it. Where `kernel`, the task that ran at that moment.
    pub sender: Task,
    /// Whom it was for.
    pub target: Task,
    /// Its number.
    pub number: u8,
    /// The kernel sent it by itself (`si_code` above 0), not a process.
    #[serde(default)]
    pub kernel: bool,
}

/// The OOM killer's choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Victim {
    /// The process.
    pub pid: Pid,
}

/// A packet that a firewall dropped. `source` sent it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "two addresses and a flag")]
pub struct Drop {
    pub netns: Netns,
    pub source: SocketAddr,
    pub target: SocketAddr,
    /// A SYN without ACK: the drop refused a connection.
    #[serde(default)]
    pub syn: bool,
    pub reason: String,
    #[serde(default)]
    pub sequence: u32,
    #[serde(default)]
    pub acknowledges: u32,
    /// It had come in by a device, and was not sent from this namespace.
    #[serde(default)]
    pub arrived: bool,
}

/// What the kernel log says of an OOM kill (`mm/oom_kill.c`, `mm/memcontrol.c`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OomReport {
    /// The victim.
    pub pid: Pid,
    /// `constraint=CONSTRAINT_MEMCG`: a cgroup's limit, not the host's memory.
    pub by_cgroup: bool,
    /// The cgroup whose limit was met (`oom_memcg`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Its limit, kibibytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_kib: Option<u64>,
    /// The victim's anonymous resident memory, kibibytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_kib: Option<u64>,
}
