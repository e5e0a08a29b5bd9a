//! UNIX upstreams: what a failed dial, a look at the path and the other end's last act come to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::attempts::Attempt;
use crate::cause::Cause;
use crate::connections::OtherEnd;
use crate::event::{Flow, How, Role, Task};
use crate::fitting::arrival;
use crate::joining::Answer;
use crate::processes::Processes;
use crate::recent::Recent;
use crate::units::{Cookie, Errno, Pid, Timestamp};
use crate::verdict::Confidence;

const EPERM: u16 = 1;
const ENOENT: u16 = 2;
const EAGAIN: u16 = 11;
const ENOMEM: u16 = 12;
const EACCES: u16 = 13;
const ENFILE: u16 = 23;
const EMFILE: u16 = 24;
const ENOBUFS: u16 = 105;
const ECONNREFUSED: u16 = 111;

/// How long a look at a path says what it was when it was dialled.
const AT_ONCE: Duration = Duration::from_millis(150);
/// From a process's end to the end of file that its sockets give: milliseconds, longer for a huge one.
const LEAVING: Duration = Duration::from_secs(1);

/// From a gateway's first UNIX dial until its UNIX sockets are watched.
const UNTIL_WATCHED: Duration = Duration::from_secs(1);
/// How long a process is known as one that dials UNIX sockets.
const KNOWN: Duration = Duration::from_secs(24 * 3600);

/// Every program of the C library asks it for names, and on most hosts it is not there.
const NAME_CACHE: &str = "/var/run/nscd/socket";

/// Which system call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the calls' own names")]
pub enum Which {
    Socket,
    Connect,
    Accept,
}

/// A system call on sockets that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Who called.
    pub task: Task,
    /// Which call.
    pub which: Which,
    /// How it failed.
    #[serde(default)]
    pub errno: Errno,
    /// The UNIX path that was dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The address that was dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<std::net::SocketAddr>,
}

/// Of a UNIX connection: its other end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// Who last accepted, read or wrote there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Task>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_at: Option<Timestamp>,
}

/// A process dials UNIX sockets, while nobody watches them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dialler {
    /// The process.
    pub pid: Pid,
    /// It had done so before the senses began, and holds a connection of then.
    #[serde(default)]
    pub before: bool,
}

/// What a path is for who dials it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// There is no such file.
    Missing,
    /// The dialler may not write to it, by its mode.
    Denied,
    /// The file is there and nothing listens on it.
    Stale,
    /// Something listens, and its queue is full.
    Full,
    /// Something listens.
    Open,
}

/// User space looked at a path, as the dialler sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Looked {
    /// For whom.
    pub pid: Pid,
    /// The path.
    pub path: String,
    /// What it is.
    pub standing: Standing,
    /// Connections in its listener's queue.
    #[serde(default)]
    pub queued: u32,
    /// The queue's limit.
    #[serde(default)]
    pub limit: u32,
    /// Processes that hold the listener, as far as /proc showed.
    #[serde(default)]
    pub holders: Vec<Pid>,
}

/// What a dial is for: an address, or a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Target {
    Inet(std::net::SocketAddr),
    Unix(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inet(address) => Address(*address).fmt(out),
            Self::Unix(path) => write!(out, "unix:{path}"),
        }
    }
}

impl Flow {
    /// Where it leads.
    #[must_use]
    pub fn target(&self) -> Target {
        match &self.path {
            Some(path) => Target::Unix(path.clone()),
            None => Target::Inet(self.remote),
        }
    }
}

/// Whether it is noise: no gateway dials it for a request.
#[must_use]
pub fn is_noise(flow: &Flow) -> bool {
    flow.path.as_deref() == Some(NAME_CACHE)
}

/// The other end of a UNIX connection, as the record of its dialling end tells of it.
#[must_use]
pub fn other_end(attempt: &Attempt, processes: &Processes) -> Option<OtherEnd> {
    let flow = &attempt.flow;
    flow.path.as_ref()?;
    let (how, at) = match (flow.reset_at, flow.fin_at) {
        (Some(at), _) if flow.served.server.is_none() => (How::Queued, at),
        (Some(at), _) => (How::Unread, at),
        (None, Some(at)) => (How::Fin, at),
        (None, None) => return None,
    };
    // The closer is not told of: it is taken for who used the connection last, unless that one was
    // long gone.
    let alive = flow.opened_at.unwrap_or_default();
    let server = flow.served.server.as_ref();
    let ended = server.and_then(|server| processes.ending(server.pid, alive));
    if ended.is_some_and(|ending| at.since(ending.at) > LEAVING) {
        return None;
    }
    // A request that was never written was never heard.
    let pending = if flow.heard_bytes == 0 {
        flow.said_bytes
    } else {
        0
    };
    let quiet = flow
        .heard_at
        .or(flow.heard_before_at)
        .map(|said| at.since(said));
    let end = Flow {
        cookie: Cookie(flow.cookie.0 | 1),
        role: Role::Accepted,
        how,
        task: flow.served.server.clone(),
        owner: flow.served.server.clone(),
        fin_at: None,
        reset_at: None,
        said_at: flow.heard_at,
        heard_at: flow.said_at,
        said_bytes: flow.heard_bytes,
        heard_bytes: pending,
        said: flow.heard,
        heard: flow.said,
        quiet_ms: quiet.map_or(0, |quiet| {
            u32::try_from(quiet.as_millis()).unwrap_or(u32::MAX)
        }),
        fin_heard: false,
        reset_heard: false,
        error: Errno(0),
        said_head: crate::units::Head::default(),
        heard_head: crate::units::Head::default(),
        ..(**flow).clone()
    };
    Some(OtherEnd {
        at,
        flow: end,
        translated: false,
    })
}

/// Why a dial failed: proven by its errno, inferred by a look at the path right after it.
#[must_use]
pub fn dial(
    attempt: &Attempt,
    looked: Option<&(Timestamp, Looked)>,
) -> Option<(Cause, Confidence)> {
    attempt.flow.path.as_ref()?;
    let looked = looked.filter(|(at, _)| at.since(attempt.at) <= AT_ONCE);
    let standing = looked.map(|(_, looked)| looked.standing);
    let by_errno = match (attempt.flow.error.0, standing) {
        (0, _) => None,
        (ENOENT, _) => Some(Cause::UnixMissing),
        (ECONNREFUSED, _) => Some(Cause::UnixNoListener),
        (EAGAIN, _) => Some(Cause::UnixBacklogFull),
        (EACCES, Some(Standing::Open | Standing::Full | Standing::Stale)) | (EPERM, _) => {
            Some(Cause::ProxyDenied)
        }
        (EACCES, _) => Some(Cause::UnixDenied),
        (errno, _) => exhausted(Errno(errno)),
    };
    if let Some(cause) = by_errno {
        return Some((cause, Confidence::Proven));
    }
    if attempt.flow.error.0 != 0 {
        return None;
    }
    let cause = match standing? {
        Standing::Missing => Cause::UnixMissing,
        Standing::Denied => Cause::UnixDenied,
        Standing::Stale => Cause::UnixNoListener,
        Standing::Full => Cause::UnixBacklogFull,
        Standing::Open => return None,
    };
    Some((cause, Confidence::Inferred))
}

/// What the gateway itself had none of, by a call's errno.
#[must_use]
pub fn exhausted(Errno(errno): Errno) -> Option<Cause> {
    match errno {
        EMFILE | ENFILE => Some(Cause::FdExhausted),
        ENOBUFS | ENOMEM => Some(Cause::NoMemory),
        EACCES | EPERM => Some(Cause::ProxyDenied),
        _ => None,
    }
}

/// What was found, and when.
type Dated<T> = Option<(Timestamp, T)>;

/// Failed calls and looks at paths that are remembered.
#[derive(Debug)]
pub struct Calls {
    calls: Recent<(Pid, Timestamp, u32), Call>,
    looks: Recent<(Pid, String, Timestamp), Looked>,
    diallers: Recent<Pid, ()>,
    pools: Recent<Pid, ()>,
    watched_at: Option<Timestamp>,
    has_lost_diallers: bool,
}

impl Default for Calls {
    fn default() -> Self {
        let age = Duration::from_secs(60);
        Self {
            calls: Recent::new(2048, age),
            looks: Recent::new(256, age),
            diallers: Recent::new(16384, KNOWN),
            pools: Recent::new(16384, KNOWN),
            watched_at: None,
            has_lost_diallers: false,
        }
    }
}

impl Calls {
    /// A call failed.
    pub fn call(&mut self, at: Timestamp, call: Call) {
        self.calls
            .insert(at, (call.task.pid, at, call.task.tid), call);
    }

    /// A process dials UNIX sockets.
    pub fn dials(&mut self, at: Timestamp, pid: Pid) {
        self.diallers.insert(at, pid, ());
    }

    /// A process holds a UNIX connection that is older than the senses.
    pub fn pools(&mut self, at: Timestamp, pid: Pid) {
        self.pools.insert(at, pid, ());
    }

    /// UNIX connections are watched from now on.
    pub fn watch(&mut self, at: Timestamp) {
        self.watched_at.get_or_insert(at);
    }

    /// A process that dials UNIX sockets may never be told of.
    pub fn lose_diallers(&mut self) {
        self.has_lost_diallers = true;
    }

    /// Whether a process may have asked on UNIX connections, and nobody saw it.
    #[must_use]
    pub fn asks_unseen(&self, pid: Pid, at: Timestamp) -> bool {
        let seen = self.watched_at.map(|since| at.since(since));
        let is_watched = seen.is_some_and(|seen| seen >= UNTIL_WATCHED);
        let may_dial = self.is_dialler(pid) || self.has_lost_diallers;
        self.pools.get(&pid).is_some() || may_dial && !is_watched
    }

    /// Whether a process was told of as one that dials UNIX sockets.
    #[must_use]
    pub fn is_dialler(&self, pid: Pid) -> bool {
        self.diallers.get(&pid).is_some()
    }

    /// A path was looked at.
    pub fn look(&mut self, at: Timestamp, looked: Looked) {
        let key = (looked.pid, looked.path.clone(), at);
        self.looks.insert(at, key, looked);
    }

    /// What bears on an answer: what the path was that it dialled, and a call that failed for it.
    #[must_use]
    pub fn bearing_on(
        &self,
        answer: &Answer,
        deciding: Option<&Attempt>,
    ) -> (Dated<Looked>, Dated<Call>) {
        let looked = deciding.and_then(|attempt| self.looked(attempt));
        (looked, self.failed_call(answer, deciding))
    }

    /// What the path was, looked at first after this dial.
    #[must_use]
    pub fn looked(&self, attempt: &Attempt) -> Option<(Timestamp, Looked)> {
        let path = attempt.flow.path.clone()?;
        let until = attempt.at.plus(AT_ONCE);
        let from = (attempt.pid, path.clone(), attempt.at);
        let mut looks = self.looks.between(from, (attempt.pid, path, until));
        looks
            .next()
            .map(|((_, _, at), looked)| (*at, looked.clone()))
    }

    /// The failed call of the gateway that explains an answer: one by the thread that answered, after
    /// the request came and after every attempt.
    fn failed_call(
        &self,
        answer: &Answer,
        deciding: Option<&Attempt>,
    ) -> Option<(Timestamp, Call)> {
        let from = deciding.map_or_else(|| arrival(answer), |attempt| attempt.began())?;
        let pid = answer.task.pid;
        let within = self
            .calls
            .between((pid, from, 0), (pid, answer.at, u32::MAX));
        // Squid dials dead peers of other sites too, and says on its page when none of its dials decided.
        let says_so = |call: &Call| answer.word.is_none_or(|word| word.allows(true, call.errno));
        let explains = |call: &&Call| match (call.which, deciding) {
            (Which::Accept, _) => false,
            (Which::Socket, None) => true,
            (Which::Socket, Some(_)) => false,
            (Which::Connect, None) => call.remote.is_some() && says_so(call),
            (Which::Connect, Some(attempt)) => {
                attempt.flow.path.is_none() && call.remote == Some(attempt.flow.remote)
            }
        };
        let mut found = within.filter(|(_, call)| explains(call));
        found
            .next_back()
            .map(|((_, at, _), call)| (*at, call.clone()))
    }
}
