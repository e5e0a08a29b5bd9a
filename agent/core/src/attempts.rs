//! A gateway's attempts at upstreams: what each one saw, and which are not spent yet.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ends::was_left;
use crate::event::{Flow, How};
use crate::http;
use crate::recent::Recent;
use crate::sharing::Dials;
use crate::strangers::Strangers;
use crate::timers::idle;
use crate::tls;
use crate::twins::Twins;
use crate::units::{Cookie, Pid, Timestamp};
use crate::unix::{Call, is_noise};
use crate::verdict::Symptom;

/// States after the handshake: ESTABLISHED, FIN_WAIT1 and 2, CLOSE_WAIT, LAST_ACK, CLOSING
/// (`net/tcp_states.h`).
const CONNECTED: [u8; 6] = [1, 4, 5, 8, 9, 11];
const ECONNREFUSED: u16 = 111;
const ETIMEDOUT: u16 = 110;
const UNREACHABLE: [u16; 2] = [101, 113];
const RESET: [u16; 2] = [104, 32];

/// The shortest connect timeout that someone would configure.
const PATIENCE: Duration = Duration::from_millis(50);

/// From a dial's failure in the kernel to the return of `connect(2)`: microseconds, but for a task
/// that loses its processor in between.
const AT_ONCE: Duration = Duration::from_millis(20);

/// Where a header's end is found in what so many bytes hold, and eight of before, is not told.
const LOOK: u64 = 1024 + 8;

/// Envoy takes headers of so many bytes (`max_response_headers_kb`, 60), more than others of its kind.
const HUGE: u64 = 60 * 1024;

/// A process's attempts that are looked through for an answer: more do not fail at once.
const LATELY: usize = 4096;
/// Those of them that were taken in doubt.
const RIVALS: usize = 64;

/// One attempt: a dialled connection that failed, or on which a failed answer came.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// In the order of arrival.
    pub number: u64,
    /// When it was let go, or when the answer was heard.
    pub at: Timestamp,
    /// The gateway process.
    pub pid: Pid,
    /// The thread that let go, or that had sent the request.
    pub tid: u32,
    /// The dialled socket.
    pub flow: Box<Flow>,
    /// The status that was heard on it, where a watched one was.
    pub relayed: Option<u16>,
    /// What was asked on it, to be compared.
    pub asked: Option<u64>,
    /// An answer counts it among its tries by order alone; another's it may be.
    pub claimed: bool,
}

impl Attempt {
    /// When this request began on it: a pooled connection is older than the request.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        if self.flow.said > 0 {
            self.flow.said_at
        } else {
            self.flow.opened_at
        }
    }

    /// Whether the connection had served a request before.
    #[must_use]
    pub fn reused(&self) -> bool {
        self.flow.said > 1 && is_http(&self.flow)
    }

    /// Whether it never became a connection.
    #[must_use]
    pub fn is_unconnected(&self) -> bool {
        !self.flow.established
    }

    /// Whether the upstream spoke first, and the gateway hung up before it asked: as Go does with what
    /// it did not ask for, and as a health check does.
    #[must_use]
    pub fn was_greeted(&self) -> bool {
        self.flow.established && self.flow.said == 0 && self.flow.heard_bytes > 0
    }

    /// Whether it looks as if nothing went wrong: it counts only where nothing else explains.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        let flow = &self.flow;
        self.relayed.is_none()
            && self.flow.established
            && flow.heard_bytes > 0
            && !self.failed_in_handshake()
            && (!is_http(flow)
                || http::fault(&flow.heard_head).is_none()
                    && is_header_complete(flow).unwrap_or(flow.unread == 0)
                    && !is_header_huge(flow))
    }

    /// What the gateway's socket saw.
    #[must_use]
    pub fn symptom(&self) -> Symptom {
        let flow = &self.flow;
        let either = |errnos: &[u16]| {
            errnos.contains(&flow.error.0)
                || flow.error.0 == 0 && errnos.contains(&flow.soft_error.0)
        };
        if self.relayed.is_some() {
            return Symptom::Relayed;
        }
        if !flow.established {
            return match () {
                () if either(&[ECONNREFUSED]) || flow.reset_heard => Symptom::Refused,
                () if either(&UNREACHABLE) => Symptom::Unreachable,
                () if either(&[ETIMEDOUT]) || self.was_given_up() => Symptom::ConnectTimeout,
                () => Symptom::ConnectError,
            };
        }
        if self.failed_in_handshake() {
            return Symptom::TlsFailure;
        }
        let is_reset = flow.reset_heard || RESET.contains(&flow.error.0);
        let readable = is_http(flow);
        let is_bad = readable && http::fault(&flow.heard_head).is_some();
        let complete = readable && is_header_complete(flow) == Some(true);
        // Who leaves bytes unread has not come to the end that follows them.
        let gave_up = flow.heard_bytes > 0 && flow.unread > 0;
        let ended = is_reset || flow.fin_heard;
        if tls::heard_farewell(flow) && !is_reset {
            return Symptom::Eof;
        }
        match (
            flow.heard_bytes > 0,
            is_bad && (!ended || http::is_foreign(&flow.heard_head)) || complete || gave_up,
        ) {
            (true, true) => Symptom::BadAnswer,
            (false, _) | (true, false) if is_reset => Symptom::Reset,
            (false, _) | (true, false) if flow.fin_heard => Symptom::Eof,
            (false, _) => Symptom::NoAnswer,
            (true, false) => Symptom::BadAnswer,
        }
    }

    /// Let go without an error, after a time that someone may have waited: `connect(2)` that fails
    /// at once leaves no error on the socket either.
    fn was_given_up(&self) -> bool {
        let flow = &self.flow;
        let opened = flow.opened_at.unwrap_or(self.at);
        flow.error.0 == 0 && flow.soft_error.0 == 0 && self.at.since(opened) >= PATIENCE
    }

    /// Whether it still waits for an answer, as one moment showed: it explains what its gateway
    /// answered at that moment, and nothing later.
    #[must_use]
    pub fn is_glimpse(&self) -> bool {
        self.relayed.is_none() && is_glimpse(&self.flow)
    }

    /// Whether two attempts failed alike, so that taking one for the other misleads nobody.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.flow.target() == other.flow.target() && self.symptom() == other.symptom()
    }
}

/// Nothing tells of the end of a UNIX connection that its dialler gives up: it is told of as it waits.
fn is_glimpse(flow: &Flow) -> bool {
    let asked_only = flow.said > 0 && flow.heard_bytes == 0;
    flow.path.is_some() && flow.how == How::Open && asked_only && !was_left(flow)
}

/// Whether HTTP/1 in clear was spoken, as far as was seen. FastCGI, uwsgi, TLS and HTTP/2 have other
/// messages: nothing in them is a status line, and their number counts no requests.
#[must_use]
pub fn is_http(flow: &Flow) -> bool {
    if flow.said == 0 && flow.late {
        return false;
    }
    flow.said_head.0.is_empty() || http::request_line(&flow.said_head).is_some()
}

/// Whether the whole header of the heard answer was seen; `None` where not all was looked at.
#[must_use]
pub fn is_header_complete(flow: &Flow) -> Option<bool> {
    if http::ends_within(&flow.heard_head) {
        return Some(true);
    }
    if flow.header_end_heard {
        return Some(!ends_unread(flow));
    }
    let all_kept = flow.heard_bytes <= u64::try_from(flow.heard_head.0.len()).unwrap_or(u64::MAX);
    let none_within = flow.header_scanned && flow.heard_bytes <= u64::from(flow.scanned);
    (all_kept || none_within).then_some(false)
}

/// The header ended, beyond what a common gateway takes by default.
#[must_use]
pub fn is_header_huge(flow: &Flow) -> bool {
    let ended = flow.header_end_heard && is_header_complete(flow) == Some(true);
    ended && u64::from(flow.scanned) >= HUGE + LOOK
}

/// The bytes that the gateway left unread held the header's end.
fn ends_unread(flow: &Flow) -> bool {
    let read = flow.heard_bytes.saturating_sub(flow.unread.into());
    flow.unread > 0 && read + LOOK < u64::from(flow.scanned)
}

/// Attempts that no answer has taken yet.
#[derive(Debug)]
pub struct Attempts {
    pub(crate) waiting: Recent<(Pid, u64), Box<Attempt>>,
    /// Messages that were counted: one answer that is heard and then let go counts once.
    seen: Recent<(Cookie, u32), ()>,
    /// Requests that still waited when they were told of.
    glimpses: Recent<Cookie, (Pid, u64)>,
    /// Taken by answers that may not be theirs.
    doubted: Recent<(Pid, u64), Box<Attempt>>,
    /// Dials that were taken.
    pub dials: Dials,
    /// Answers with one line, and what they took.
    pub twins: Twins,
    /// Those that came since they were last asked for.
    added: VecDeque<(Pid, u64)>,
    /// The newest, until it shows whether they are a gateway's.
    pub strange: Strangers,
    next: u64,
}

impl Default for Attempts {
    fn default() -> Self {
        let age = Duration::from_secs(180);
        Self {
            waiting: Recent::new(8192, age),
            seen: Recent::new(16384, age),
            glimpses: Recent::new(1024, Duration::from_secs(10)),
            doubted: Recent::new(1024, Duration::from_secs(10)),
            dials: Dials::default(),
            twins: Twins::default(),
            added: VecDeque::new(),
            strange: Strangers::default(),
            next: 0,
        }
    }
}

impl Attempts {
    /// A gateway's task let go of a dialled connection.
    pub fn ended(&mut self, at: Timestamp, flow: Box<Flow>) {
        let Some(task) = flow.task.clone() else {
            return;
        };
        let key = (flow.cookie, flow.said);
        if let Some(before) = self.glimpses.remove(&flow.cookie) {
            self.waiting.remove(&before);
        }
        if self.seen.get(&key).is_some() || is_noise(&flow) {
            return;
        }
        // Told of only because its thread answered with a failure: what it heard must be the reason.
        let is_beside = flow.path.is_some() && flow.how == How::Open;
        // Nothing was asked on it and nothing went wrong: a spare connection.
        let is_unused = flow.said == 0 && flow.heard_bytes == 0;
        let is_spare = flow.established && is_unused && !flow.late && !was_left(&flow);
        if !is_spare && idle(at, &flow).is_none() {
            let glimpse = is_glimpse(&flow).then_some(flow.cookie);
            let place = (task.pid, self.add((at, task.pid, task.tid), flow, None));
            if let Some(cookie) = glimpse {
                // What becomes of it is still to be told.
                self.seen.remove(&key);
                self.added.pop_back();
                self.glimpses.insert(at, cookie, place);
            }
            if is_beside && self.waiting.get(&place).is_none_or(|one| one.is_weak()) {
                self.waiting.remove(&place);
                self.seen.remove(&key);
            }
        }
    }

    /// A call that failed tells why a UNIX dial did: the thread's last one, at that moment.
    pub fn called(&mut self, at: Timestamp, call: &Call) {
        let is_its = |attempt: &&Attempt| {
            attempt.tid == call.task.tid
                && attempt.is_unconnected()
                && attempt.flow.path.is_some()
                && attempt.flow.path == call.path
                && at.since(attempt.at) <= AT_ONCE
        };
        let found = self.of(call.task.pid).find(is_its);
        let key = found.map(|one| (one.pid, one.number));
        if let Some(attempt) = key.and_then(|key| self.waiting.get_mut(&key)) {
            attempt.flow.error = call.errno;
        }
    }

    /// A failed answer arrived on a dialled connection.
    pub fn heard(&mut self, at: Timestamp, flow: Box<Flow>) {
        let Some(owner) = flow.owner.clone().or_else(|| flow.task.clone()) else {
            return;
        };
        let relayed = flow.status;
        let is_known = self.seen.get(&(flow.cookie, flow.said)).is_some();
        // In answer to a ClientHello, an answer in clear is nothing to pass on.
        if !is_known && tls::stage(&flow).is_none() {
            self.add((at, owner.pid, owner.tid), flow, relayed);
        }
    }

    /// A process's last attempts, the newest first.
    pub fn of(&self, pid: Pid) -> impl Iterator<Item = &Attempt> {
        let all = self.waiting.between((pid, 0), (pid, u64::MAX));
        all.rev().map(|(_, attempt)| &**attempt).take(LATELY)
    }

    /// All that no answer has taken.
    pub fn all(&self) -> impl Iterator<Item = &Attempt> {
        self.waiting.range(..).map(|(_, attempt)| &**attempt)
    }

    /// An answer takes it.
    pub fn spend(&mut self, pid: Pid, number: u64) -> Option<Attempt> {
        self.waiting.remove(&(pid, number)).map(|attempt| *attempt)
    }

    /// An answer counts it among its tries, and leaves it to whom it may belong.
    pub fn claim(&mut self, pid: Pid, number: u64) -> Option<Attempt> {
        let attempt = self.waiting.get_mut(&(pid, number))?;
        attempt.claimed = true;
        Some((**attempt).clone())
    }

    /// It was taken, and another answer may have a better claim.
    pub fn doubt(&mut self, attempt: &Attempt) {
        let key = (attempt.pid, attempt.number);
        self.doubted.insert(attempt.at, key, attempt.clone().into());
    }

    /// A process's attempts that were taken in doubt, the newest first.
    pub fn doubted(&self, pid: Pid) -> impl Iterator<Item = &Attempt> {
        let all = self.doubted.between((pid, 0), (pid, u64::MAX));
        all.rev().map(|(_, attempt)| &**attempt).take(RIVALS)
    }

    /// One that no answer has taken.
    #[must_use]
    pub fn unspent(&self, pid: Pid, number: u64) -> Option<&Attempt> {
        self.waiting.get(&(pid, number)).map(|attempt| &**attempt)
    }

    /// Whether a message of this socket was an attempt.
    #[must_use]
    pub fn has_failed(&self, cookie: Cookie, said: u32) -> bool {
        self.seen.get(&(cookie, said)).is_some()
    }

    /// The next of those that came, and that no answer has taken yet.
    pub fn poll_added(&mut self) -> Option<&Attempt> {
        let key = self.added.pop_front()?;
        self.unspent(key.0, key.1)
    }

    fn add(
        &mut self,
        (at, pid, tid): (Timestamp, Pid, u32),
        mut flow: Box<Flow>,
        relayed: Option<u16>,
    ) -> u64 {
        // The kernel skips a hook that would run within another: what was heard tells as well.
        flow.established |=
            flow.fin_heard || flow.heard > 0 || flow.said > 0 || CONNECTED.contains(&flow.state);
        self.next += 1;
        let number = self.next;
        self.seen.insert(at, (flow.cookie, flow.said), ());
        self.added.push_back((pid, number));
        self.strange.add(pid, number);
        let attempt = Attempt {
            number,
            at,
            pid,
            tid,
            asked: http::asked(&flow.said_head),
            flow,
            relayed,
            claimed: false,
        };
        self.waiting.insert(at, (pid, number), Box::new(attempt));
        number
    }
}
