//! Everything that bears on one answer, looked up and put together before it is judged.

use std::net::SocketAddr;
use std::time::Duration;

use crate::attempts::{Attempt, Attempts};
use crate::body::symptom;
use crate::cause::Cause;
use crate::checks;
pub use crate::complete::Complete;
use crate::complete::complete;
use crate::connections::OtherEnd;
use crate::diagnose::{diagnose, raced};
use crate::event::{Drop, Flow, How, Reset, Task};
use crate::failures;
pub use crate::failures::Failure;
use crate::joining::{Answer, Joined};
use crate::listeners::Place;
use crate::memory::Memory;
use crate::names::{self, Unresolved};
use crate::own_answer::is_its_own;
use crate::packets::Overflow;
use crate::processes::{Ending, Way};
use crate::seeking::{Refusal, sought};
use crate::silences::waited;
use crate::stalled::Stall;
use crate::units::{Pid, Timestamp};
use crate::unix::{self, Call, Looked};
use crate::unix_listeners::Former;
use crate::verdict::Symptom;

/// One answer's evidence.
#[derive(Debug)]
pub struct Evidence {
    /// The answer.
    pub answer: Answer,
    /// Its attempts.
    pub joined: Joined,
    /// What the deciding attempt saw.
    pub symptom: Symptom,
    /// The deciding attempt's other end, where it was let go on this host.
    pub other_end: Option<OtherEnd>,
    /// How the process ended that held the other end, or that had listened there.
    pub ending: Option<Ending>,
    /// A RST of this host to the gateway's socket.
    pub reset: Option<(Timestamp, Reset)>,
    /// A packet of this connection that was dropped.
    pub drop: Option<(Timestamp, Drop)>,
    /// A packet of this connection that came to a full accept queue, or another's meanwhile.
    pub overflow: Option<(Timestamp, Overflow)>,
    /// Where the connection really went, where its address was translated on the way.
    pub real: Option<SocketAddr>,
    /// The dialled address is one of this host's.
    pub is_peer_here: bool,
    /// Who listened where a connection was refused; `None` where that host is not seen.
    pub place: Option<Place>,
    /// The failed answer of an upstream that is a gateway on this host.
    pub inner: Option<String>,
    /// Earlier failures of the same gateway that may have marked its upstreams down.
    pub failures: Vec<Failure>,
    /// Nobody but the gateway itself can have given this answer.
    pub is_its_own: bool,
    /// Whether the other end's silence before its close was as long as its idle timer; `None` where that
    /// was never seen at work.
    pub timer_struck: Option<bool>,
    /// What a look showed of an upstream that did not answer.
    pub stall: Stall,
    /// What the UNIX path that was dialled is.
    pub looked: Option<(Timestamp, Looked)>,
    /// Who had listened on the UNIX path that refuses, or is gone.
    pub former: Option<Former>,
    /// A call of the gateway's that failed within this request.
    pub call: Option<(Timestamp, Call)>,
    /// How the gateway's name servers failed within this request, the name, and when.
    pub unresolved: Option<(Timestamp, Unresolved, String)>,
    /// A stop that was asked of the closer before it closed.
    pub is_stopping: bool,
    /// The closer has exited since, which explains nothing.
    pub has_exited: bool,
    /// The closer's exit was not awaited: too many answers wait.
    pub is_hurried: bool,
    /// Another attempt may be the answer's, whose record is lost.
    pub is_in_doubt: bool,
    /// The dial may as well be a health check's.
    pub may_be_check: bool,
    /// What is missing.
    pub complete: Complete,
}

impl Evidence {
    /// Looks everything up.
    #[must_use]
    pub fn gather(answer: Answer, joined: Joined, memory: &Memory) -> Self {
        let deciding = joined.attempts.last();
        let symptom = deciding.map_or(Symptom::NoAttempt, |own| symptom(&answer, own));
        let other_end = deciding.and_then(|attempt| other_end(attempt, symptom, memory));
        let symptom = amended(symptom, deciding, other_end.as_ref());
        let reset = deciding.and_then(|attempt| reset(attempt, memory));
        let drop = deciding
            .and_then(|attempt| memory.packets.dropped_of(&attempt.flow, attempt.at))
            .map(|(at, drop)| (at, drop.clone()));
        let overflow =
            deciding.and_then(|attempt| memory.packets.overflow(&attempt.flow, attempt.at));
        let place = deciding
            .filter(|attempt| symptom == Symptom::Refused && attempt.flow.path.is_none())
            .and_then(|attempt| sought(attempt, reset.as_ref(), memory));
        let refused = deciding.map_or(answer.at, |it| Refusal::of(it, reset.as_ref()).at);
        let ending = ending(other_end.as_ref(), place.as_ref(), refused, memory);
        let inner = deciding
            .filter(|_| symptom == Symptom::Relayed)
            .and_then(|attempt| memory.connections.answer_of(&attempt.flow, attempt.at))
            .map(|(at, cookie)| crate::telling::id(at, cookie));
        let unresolved = names::failed(&answer, memory).filter(|_| deciding.is_none());
        let (is_stopping, has_exited) = closer(other_end.as_ref(), memory);
        let stall = deciding
            .filter(|attempt| waited(symptom, attempt))
            .map(|attempt| Stall::gather(attempt, other_end.as_ref(), memory));
        let (looked, call) = memory.unix.bearing_on(&answer, deciding);
        let former = deciding.and_then(|attempt| former(attempt, looked.as_ref(), memory));
        let ending = ending.or_else(|| former.as_ref()?.ending.clone());
        let (complete, around) = complete(&answer, &joined, ending.as_ref(), memory);
        let mut gathered = Self {
            answer,
            joined,
            symptom,
            other_end,
            ending,
            reset,
            drop,
            overflow,
            real: None,
            is_peer_here: false,
            place,
            inner,
            failures: Vec::new(),
            is_its_own: false,
            timer_struck: None,
            stall: stall.unwrap_or_default(),
            looked,
            former,
            call,
            unresolved,
            is_stopping,
            has_exited,
            is_hurried: false,
            is_in_doubt: false,
            may_be_check: false,
            complete,
        };
        gathered.consider(around, memory);
        gathered
    }

    /// What follows from all of it.
    fn consider(&mut self, lost_around: u64, memory: &Memory) {
        let told = self.joined.is_told_by_the_kernel(&self.answer);
        self.real = self.translated();
        self.is_in_doubt = lost_around > 0 && !told;
        let here = |attempt: &Attempt| is_here(&attempt.flow, memory);
        self.is_peer_here = self.deciding().is_some_and(here);
        self.timer_struck = self.other_end.as_ref().and_then(|OtherEnd { flow, .. }| {
            let place = (flow.netns, flow.local);
            memory.clocks.struck(&place, flow.quiet_ms)
        });
    }

    /// The other end's own address, where it is not the one that was dialled.
    fn translated(&self) -> Option<SocketAddr> {
        let dialled = self.deciding()?.flow.remote;
        let end = self.other_end.as_ref().map(|end| end.flow.local);
        let refused = || self.reset.as_ref().map(|(_, reset)| reset.local);
        let queued = || self.overflow.as_ref().map(|(_, overflow)| overflow.local);
        let real = end.or_else(refused).or_else(queued)?;
        (real != dialled).then_some(real)
    }

    /// Other attempts that fit as well are judged too: where each failed for the same cause, it does
    /// not matter which of them was this answer's.
    pub fn weigh_rivals(&mut self, memory: &Memory) {
        let rivals = std::mem::take(&mut self.joined.rivals);
        if rivals.is_empty() {
            return;
        }
        let cause = diagnose(self).cause;
        self.joined.divided |= rivals.into_iter().any(|rival| {
            let joined = Joined {
                attempts: vec![rival],
                ..Joined::by(self.joined.by)
            };
            let other = Self::gather(self.answer.clone(), joined, memory);
            diagnose(&other).cause != cause
        });
    }

    /// Where no attempt was seen: whether health checks say why, or nothing does.
    pub fn weigh_absence(&mut self, attempts: &Attempts, memory: &Memory) {
        if self.deciding().is_some() {
            return;
        }
        self.failures = failures::before(&self.answer, memory);
        if self.failures.is_empty() {
            self.failures = checks::before(&self.answer, attempts, memory);
        }
        self.is_its_own = self.failures.is_empty() && is_its_own(&self.answer, attempts, memory);
    }

    /// The attempt that decides.
    #[must_use]
    pub fn deciding(&self) -> Option<&Attempt> {
        self.joined.attempts.last()
    }

    /// The other end is older than the agent, and nothing was heard on it since.
    #[must_use]
    pub fn saw_only_the_end(&self) -> bool {
        let end = self.other_end.as_ref().map(|end| &end.flow);
        end.is_some_and(|flow| flow.late && flow.heard == 0)
    }

    /// The living process whose exit within the grace would be the deeper cause.
    #[must_use]
    pub fn may_yet_exit(&self) -> Option<Pid> {
        let waited = self.deciding().is_some_and(|own| waited(self.symptom, own));
        let moot = waited || self.symptom == Symptom::Relayed;
        let gone = self.ending.as_ref().is_some_and(|ending| ending.gone);
        if self.has_exited || gone || moot {
            return None;
        }
        let end = self
            .other_end
            .as_ref()
            .filter(|end| is_own_choice(end.flow.how));
        end.and_then(|end| end.flow.task.as_ref())
            .map(|task| task.pid)
    }

    /// Whether the kernel log has yet to tell of an OOM kill.
    #[must_use]
    pub fn may_yet_be_told(&self) -> bool {
        matches!(
            &self.ending,
            Some(Ending {
                way: Way::Oom(None),
                ..
            })
        )
    }
}

/// A child that is about to run another program lets go of a copy: its parent served the connection.
fn served(mut end: OtherEnd, memory: &Memory) -> OtherEnd {
    let flow = &mut end.flow;
    if flow.executing {
        let parent = flow.task.take().map(|task| task.parent);
        let parent = parent.filter(|parent| parent.0 > 1);
        flow.task = parent.map(|parent| memory.processes.task(parent));
        flow.dying = false;
    }
    end
}

fn other_end(attempt: &Attempt, symptom: Symptom, memory: &Memory) -> Option<OtherEnd> {
    if !attempt.flow.established || symptom == Symptom::Relayed {
        return None;
    }
    match &attempt.flow.path {
        Some(_) => unix::other_end(attempt, &memory.processes),
        None => {
            let end = memory.connections.other_end(&attempt.flow, attempt.at)?;
            Some(served(end, memory))
        }
    }
}

/// A gateway that "gave up" just after the other end had left did see it leave: the kernel may have
/// skipped the hook that would tell.
fn amended(symptom: Symptom, deciding: Option<&Attempt>, end: Option<&OtherEnd>) -> Symptom {
    let (Some(attempt), Some(end)) = (deciding, end) else {
        return symptom;
    };
    match (symptom, end.flow.how) {
        (Symptom::NoAnswer, _) if end.at > attempt.at => symptom,
        (Symptom::NoAnswer, How::Fin) => Symptom::Eof,
        (Symptom::NoAnswer, How::Unread | How::Linger | How::Queued) => Symptom::Reset,
        (_, _) => symptom,
    }
}

/// Whether the closer was asked to stop before, and whether it has exited since.
fn closer(other_end: Option<&OtherEnd>, memory: &Memory) -> (bool, bool) {
    let processes = &memory.processes;
    let closer = other_end.and_then(|end| Some((end.flow.task.as_ref()?.pid, end.at)));
    let is_stopping = closer.is_some_and(|(pid, at)| processes.stop_before(pid, at).is_some());
    let has_exited = closer.is_some_and(|(pid, at)| processes.ending(pid, at).is_some());
    (is_stopping, has_exited)
}

/// Whether a living process chose to end the connection.
fn is_own_choice(how: How) -> bool {
    match how {
        How::Fin | How::Unread | How::Linger | How::Queued => true,
        How::Open | How::Released => false,
    }
}

/// Who leaves later leaves for another reason; an agent that was held up hears of both at once.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);

/// A process that closed while it lived was ended by what came before: a later blow is another story.
fn explains(ending: &Ending, end: &OtherEnd) -> bool {
    match &ending.way {
        _ if end.flow.dying || ending.at <= end.at => true,
        Way::Exit(_) if ending.at.since(end.at) > LEAVES_WITHIN => false,
        // A process that serves one connection leaves when its idle timer has ended that one.
        Way::Exit(0) => !raced(end),
        Way::Exit(_) => true,
        Way::Signalled { sent, .. } => *sent <= end.at,
        Way::Oom(_) | Way::Crash { .. } | Way::Killed(_) => false,
    }
}

fn ending(
    other_end: Option<&OtherEnd>,
    place: Option<&Place>,
    refused: Timestamp,
    memory: &Memory,
) -> Option<Ending> {
    if let Some(end) = other_end.filter(|end| is_own_choice(end.flow.how)) {
        let task = end.flow.task.as_ref()?;
        // A dying process is told of before its sockets close (`sched_process_exit` comes first).
        let alive = end
            .flow
            .established_at
            .or(end.flow.opened_at)
            .unwrap_or_default();
        let processes = &memory.processes;
        let ended = processes.ending(task.pid, alive).and_then(|ending| {
            let soon = ending.at.since(end.at) <= LEAVES_WITHIN;
            match explains(&ending, end) {
                true => Some(ending),
                false => soon.then(|| processes.finished_off(ending, end.at))?,
            }
        });
        let chose = !end.flow.dying && !raced(end);
        return ended.or_else(|| chose.then(|| processes.stopping(task, end.at))?);
    }
    let Some(Place::Closed(closed)) = place else {
        return None;
    };
    let alive = Timestamp(closed.at.0.saturating_sub(60_000_000_000));
    // Who died after the refusal had closed the listener while alive.
    let of = |task: &Task| {
        let ending = memory.processes.ending(task.pid, alive)?;
        (ending.at <= refused).then_some(ending)
    };
    let closer = of(&closed.listener.task);
    // Workers leave in good order when their master has died: the master's end is the deeper one.
    let opener = closed
        .opener
        .as_ref()
        .and_then(of)
        .filter(|ending| !ending.is_orderly());
    match (&closer, opener) {
        (None, Some(opener)) => Some(opener),
        (Some(own), Some(opener)) if own.is_orderly() => Some(opener),
        (_, _) => closer,
    }
}

/// Who had listened where nothing does any more.
fn former(
    attempt: &Attempt,
    looked: Option<&(Timestamp, Looked)>,
    memory: &Memory,
) -> Option<Former> {
    let gone = [Cause::UnixNoListener, Cause::UnixMissing];
    let (cause, _) = unix::dial(attempt, looked).filter(|_| attempt.is_unconnected())?;
    let former = || memory.unix_listeners.former(attempt, &memory.processes);
    gone.contains(&cause).then(former).flatten()
}

fn reset(attempt: &Attempt, memory: &Memory) -> Option<(Timestamp, Reset)> {
    let flow = &attempt.flow;
    let found = if flow.established {
        memory.packets.reset_to(flow, attempt.at)
    } else {
        memory.packets.refusal(flow, attempt.at)
    };
    found.map(|(at, reset)| (at, reset.clone()))
}

/// Whether the dialled address is one of this host's, as far as is seen.
#[must_use]
pub fn is_here(flow: &Flow, memory: &Memory) -> bool {
    flow.remote.ip().is_loopback()
        || flow.remote.ip() == flow.local.ip()
        || memory.listeners.shows(flow.remote.ip())
}
