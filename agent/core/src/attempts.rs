//! A gateway's attempts at upstreams, and which are not spent yet.

use std::collections::VecDeque;
use std::time::Duration;

use crate::attempt::is_glimpse;
pub use crate::attempt::{Attempt, is_header_complete, is_header_huge, is_http};
use crate::ends::was_left;
use crate::event::{Flow, How};
use crate::recent::Recent;
use crate::sharing::Dials;
use crate::strangers::Strangers;
use crate::timers::idle;
use crate::tls;
use crate::twins::Twins;
use crate::units::{Cookie, Pid, Timestamp};
use crate::unix::{Call, is_noise};

/// States after the handshake: ESTABLISHED, FIN_WAIT1 and 2, CLOSE_WAIT, LAST_ACK, CLOSING
/// (`net/tcp_states.h`).
const CONNECTED: [u8; 6] = [1, 4, 5, 8, 9, 11];
/// From a dial's failure in the kernel to the return of `connect(2)`: microseconds, but for a task
/// that loses its processor in between.
const AT_ONCE: Duration = Duration::from_millis(20);

/// Attempts that are remembered. All of a process's are looked through for an answer: where the agent was
/// held up, thousands came since its own.
const WAITING: usize = 8192;
/// Those of them that were taken in doubt.
const RIVALS: usize = 64;

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
            waiting: Recent::new(WAITING, age),
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
            attempt.fail(call.errno);
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
        all.rev().map(|(_, attempt)| &**attempt)
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
        let attempt = Attempt::new(number, (at, pid, tid), flow, relayed);
        self.waiting.insert(at, (pid, number), Box::new(attempt));
        number
    }
}
