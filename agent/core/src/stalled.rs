//! Upstreams that let the gateway wait: what a look at them showed, what it proves, and its words.

use std::time::Duration;

use crate::amounts::{between, label};
use crate::attempts::Attempt;
use crate::cause::Cause;
use crate::connections::OtherEnd;
use crate::diagnose::{Judgement, UNEXPLAINED, inferred, proven};
use crate::dumps;
use crate::event::{How, Task};
use crate::evidence::Evidence;
use crate::looks::{Descriptors, Doing, Peer, Queue};
use crate::memory::Memory;
use crate::processes::Processes;
use crate::silences;
pub use crate::silences::judge as in_body;
use crate::units::{Pid, Timestamp};
use crate::unix::Looked;
use crate::verdict::{Confidence, Symptom};

/// A look at a process may serve answers that failed so much later.
const LATELY: Duration = Duration::from_millis(150);
/// The socket dump counts in milliseconds and a look takes some.
const SLACK: Duration = Duration::from_millis(50);
/// Gateways that wait less than this for an answer gave up for another reason. Judgements of ours.
const PATIENCE: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(1);
/// A limit that holds a group back in so many of a hundred periods is worth a word.
const HELD_BACK: u32 = 10;

type Seen<T> = Option<(Timestamp, T)>;

/// What a look showed after a gateway gave up.
#[derive(Clone, Debug, Default)]
pub struct Stall {
    /// The upstream's end, still open.
    pub peer: Seen<Peer>,
    /// Its listener's queue, where nobody had accepted it.
    pub queue: Seen<Queue>,
    /// The process that serves it: of its holders the one that is no other holder's parent.
    pub server: Option<Task>,
    /// What that process was doing.
    pub doing: Seen<Doing>,
    /// Who should have accepted it and has all its descriptors in use.
    pub full: Seen<Descriptors>,
    /// Of a UNIX connection that nobody had accepted: its path.
    pub path: Seen<Looked>,
    /// The gateway had been asked to stop.
    pub gateway_stops: bool,
    /// A fault had struck the process that serves it.
    pub struck: bool,
}

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// A process holds its connection.
    Process,
    /// It waits in the accept queue.
    Queue,
}

impl Stall {
    /// Looks everything up.
    #[must_use]
    pub fn gather(attempt: &Attempt, end: Option<&OtherEnd>, memory: &Memory) -> Self {
        if attempt.flow.path.is_some() {
            return Self::behind_a_path(attempt, memory);
        }
        let (looks, ends) = (&memory.looks, (attempt.flow.remote, attempt.flow.local));
        let lately = Timestamp(attempt.at.0.saturating_sub(nanoseconds(LATELY)));
        let peer = looks.peer(ends, attempt.at).cloned();
        let place = peer.as_ref().map(|(_, peer)| (peer.netns, peer.held));
        let place = place.or_else(|| end.map(|end| (end.flow.netns, end.flow.held)));
        let listener = place.and_then(|(netns, _)| looks.queue((netns, ends.0), lately));
        let queue = listener.filter(|_| place.is_some_and(|(_, held)| !held));
        let holders = peer.as_ref().map_or(&[][..], |(_, peer)| &peer.holders);
        let accepters = queue.map_or(&[][..], |(_, queue)| &queue.holders);
        let full = exhausted(accepters, memory, lately);
        let alone = full.as_ref().map(|(_, full)| full.pid);
        let listens = listener.map_or(&[][..], |(_, queue)| &queue.holders);
        let server = alone
            .or_else(|| server(holders, &memory.processes))
            .or_else(|| server(listens, &memory.processes).filter(|_| holders.is_empty()));
        let left = end.and_then(|end| end.flow.task.clone());
        let server = left.or_else(|| server.map(|pid| memory.processes.task(pid)));
        // Who listens need not be who serves: a child may have accepted it.
        let is_certain = !holders.is_empty() || place.is_some_and(|(_, held)| !held);
        let doing = server
            .as_ref()
            .filter(|_| is_certain)
            .and_then(|task| looks.doing(task.pid, lately));
        let struck = dumps::is_struck(server.as_ref(), attempt, memory);
        Self {
            struck,
            doing: doing.cloned(),
            queue: queue.cloned(),
            peer,
            server,
            full,
            path: None,
            gateway_stops: silences::is_gateway_stopping(attempt, memory),
        }
    }

    /// The same of a UNIX connection, whose record tells who accepted it.
    fn behind_a_path(attempt: &Attempt, memory: &Memory) -> Self {
        let lately = Timestamp(attempt.at.0.saturating_sub(nanoseconds(LATELY)));
        let accepter = attempt.flow.served.server.clone();
        let path = memory.unix.looked(attempt).filter(|_| accepter.is_none());
        let listens = path.as_ref().map_or(&[][..], |(_, path)| &path.holders);
        let full = exhausted(listens, memory, lately);
        let alone = full.as_ref().map(|(_, full)| full.pid);
        let alone = alone.or_else(|| server(listens, &memory.processes));
        let server = accepter.or_else(|| alone.map(|pid| memory.processes.task(pid)));
        let doing = server.as_ref();
        let doing = doing.and_then(|task| memory.looks.doing(task.pid, lately));
        let struck = dumps::is_struck(server.as_ref(), attempt, memory);
        Self {
            struck,
            doing: doing.cloned(),
            server,
            full,
            path,
            ..Self::default()
        }
    }

    /// Whether this look is what the cause is claimed from.
    #[must_use]
    pub fn explains(&self, cause: Cause) -> bool {
        let own = [
            Cause::AppStalled,
            Cause::ListenerNotAccepting,
            Cause::ListenerFdExhausted,
        ];
        own.contains(&cause) || cause == Cause::Crash && self.is_dumping()
    }

    /// How far the request came; `None` where that was not seen.
    fn reached(&self, attempt: &Attempt, end: Option<&OtherEnd>) -> Option<Reached> {
        if attempt.flow.path.is_some() {
            // It stays in the queue until it is accepted, though its dialler has gone.
            let waits = self.path.as_ref().is_none_or(|(_, path)| path.queued > 0);
            return match &attempt.flow.served.server {
                Some(_) => Some(Reached::Process),
                // It was accepted before anyone watched.
                None if attempt.flow.late => None,
                None => waits.then_some(Reached::Queue),
            };
        }
        let Some((_, peer)) = &self.peer else {
            return end.and_then(|end| reached_before(attempt, end));
        };
        let began = attempt.began()?;
        let arrived = peer
            .heard_at
            .is_some_and(|heard| heard.plus(SLACK) >= began);
        // What was written and did not get through is no silence.
        match (arrived && peer.unsent == 0, peer.held) {
            (true, true) => Some(Reached::Process),
            (true, false) => Some(Reached::Queue),
            (false, _) => None,
        }
    }
}

/// Who should accept, and has all its descriptors in use.
fn exhausted(pids: &[Pid], memory: &Memory, lately: Timestamp) -> Seen<Descriptors> {
    let open = |pid: &Pid| memory.looks.descriptors(*pid, lately);
    let mut all = pids.iter().filter_map(open);
    all.find(|(_, open)| u64::from(open.open) >= open.most)
        .cloned()
}

/// An upstream that let go only after the gateway had given up was there until then.
fn reached_before(attempt: &Attempt, end: &OtherEnd) -> Option<Reached> {
    let heard = end.flow.heard_bytes > 0 || end.flow.unread > 0;
    match end.flow.how {
        _ if end.at <= attempt.at || !heard => None,
        How::Queued => Some(Reached::Queue),
        How::Fin | How::Unread | How::Linger => Some(Reached::Process),
        // The gateway's own RST ended it.
        How::Released if end.flow.held => Some(Reached::Process),
        How::Released => Some(Reached::Queue),
        How::Open => None,
    }
}

/// Several workers may hold what their master accepted: then nobody is known to serve it.
fn server(holders: &[Pid], processes: &Processes) -> Option<Pid> {
    let parent = |pid: &Pid| processes.known(*pid).map(|known| known.parent);
    let is_parent = |pid: &&Pid| holders.iter().any(|other| parent(other) == Some(**pid));
    let mut lowest = holders.iter().filter(|pid| !is_parent(pid));
    let first = lowest.next()?;
    lowest.next().is_none().then_some(*first)
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The gateway gave up waiting.
#[must_use]
pub fn judge(evidence: &Evidence, attempt: &Attempt) -> Judgement {
    let flow = &attempt.flow;
    let waited = attempt.began().map(|began| attempt.at.since(began));
    let is_lost = flow.unacked > 0 && flow.retransmits > 0;
    let sure = |cause| match (evidence.answer.status, waited) {
        _ if is_lost || flow.said == 0 => UNEXPLAINED,
        (504, _) => proven(cause),
        (_, Some(waited)) if waited >= LONG => proven(cause),
        (_, Some(waited)) if waited >= PATIENCE => inferred(cause),
        (_, _) => UNEXPLAINED,
    };
    let stall = &evidence.stall;
    match stall.reached(attempt, evidence.other_end.as_ref()) {
        Some(Reached::Process) if stall.is_dumping() => stall.crashed(),
        Some(Reached::Process) => sure(Cause::AppStalled),
        // That accept(2) fails for want of a descriptor is concluded, not seen.
        Some(Reached::Queue) if stall.full.is_some() => {
            match sure(Cause::ListenerFdExhausted).confidence {
                Confidence::Proven | Confidence::Inferred => inferred(Cause::ListenerFdExhausted),
                Confidence::Unknown => UNEXPLAINED,
            }
        }
        Some(Reached::Queue) => sure(Cause::ListenerNotAccepting),
        None => UNEXPLAINED,
    }
}

/// What happened, as the end of a sentence.
#[must_use]
pub fn sentence(evidence: &Evidence, attempt: &Attempt, memory: &Memory) -> String {
    if evidence.symptom == Symptom::Truncated {
        return silences::sentence(evidence, attempt, memory);
    }
    let stall = &evidence.stall;
    let who = stall.server.as_ref().map_or_else(
        || format!("the upstream {}", attempt.flow.target()),
        |task| label(&memory.processes.who(task, attempt.at)),
    );
    let waited = attempt.began().map_or_else(String::new, |began| {
        format!(", {} in", between(began, attempt.at))
    });
    let doing = stall
        .doing
        .as_ref()
        .map(|(_, doing)| format!("; {}", activity(doing)));
    let doing = doing.unwrap_or_default();
    match stall.reached(attempt, evidence.other_end.as_ref()) {
        Some(Reached::Queue) => {
            let queue = stall.queue.as_ref();
            let queue = queue.map(|(_, queue)| depth(queue.queued, queue.limit));
            let path = stall.path.as_ref();
            let path = path.map(|(_, path)| depth(path.queued, path.limit));
            let queue = queue.or(path);
            let full = stall.full.as_ref().map(|(_, full)| used(full));
            let why = full.map_or(doing, |full| format!("; {full}"));
            format!(
                "{who} had not accepted the connection when the gateway gave up{waited}{}{why}",
                queue.unwrap_or_default()
            )
        }
        Some(Reached::Process) | None => {
            let unread = stall.peer.as_ref().map(|(_, peer)| peer.unread);
            let behind_a_path = attempt.flow.path.is_some();
            let unread = unread.unwrap_or(if behind_a_path {
                attempt.flow.unread
            } else {
                0
            });
            let read = match unread {
                0 => "had the request and sent nothing until the gateway gave up".to_owned(),
                bytes => {
                    format!("had not read {bytes} bytes of the request when the gateway gave up")
                }
            };
            format!("{who} {read}{waited}{doing}")
        }
    }
}

fn depth(queued: u32, limit: u32) -> String {
    format!("; {queued} connections waited so, of {limit} that may")
}

fn used(full: &Descriptors) -> String {
    format!(
        "it had {} of {} file descriptors open",
        full.open, full.most
    )
}

/// What a process was doing, in words.
#[must_use]
pub fn activity(doing: &Doing) -> String {
    let on = doing
        .on
        .as_ref()
        .map(|on| format!(" on {on}"))
        .unwrap_or_default();
    let calls = doing.calls.join(", ");
    let held = if doing.throttled >= HELD_BACK {
        format!(
            "; its cgroup may use {}.{:02} processors and was held back in {} % of all periods",
            doing.allowed / 1000,
            doing.allowed % 1000 / 10,
            doing.throttled
        )
    } else {
        String::new()
    };
    let first = doing.calls.first().and_then(|call| call.split_once(' '));
    let state = match (doing.state, first) {
        _ if doing.dumping => "the kernel was writing its core dump".to_owned(),
        _ if doing.frozen => "its cgroup was frozen".to_owned(),
        _ if doing.exiting => "it was on its way out".to_owned(),
        ('T', _) => "it was stopped (SIGSTOP or its like)".to_owned(),
        ('t', _) => format!("a debugger, process {}, had stopped it", doing.tracer.0),
        ('D', Some((_, call))) => format!("it was blocked in {call}{on}, which nothing interrupts"),
        ('D', None) => "it was blocked in the kernel, which nothing interrupts".to_owned(),
        ('R', _) if doing.threads > 1 => {
            let (running, threads) = (doing.running, doing.threads);
            format!("it was running: {running} of {threads} threads")
        }
        ('R', _) => "it was running".to_owned(),
        (_, Some((_, call))) if doing.threads == 1 => format!("it waited in {call}{on}"),
        (_, Some(_)) => {
            let threads = doing.threads;
            format!("its {threads} threads waited: {calls}{on}")
        }
        (_, None) => "it waited".to_owned(),
    };
    format!("{state}{held}")
}

/// The dated lines of a look.
#[must_use]
pub fn lines(stall: &Stall, memory: &Memory) -> Vec<(Timestamp, String)> {
    let mut lines = Vec::new();
    let who = stall
        .server
        .as_ref()
        .map(|task| label(&memory.processes.who(task, Timestamp(u64::MAX))));
    let who = who.unwrap_or_else(|| "the upstream".to_owned());
    if let Some((at, peer)) = &stall.peer {
        let held = if peer.held {
            "open"
        } else {
            "waiting to be accepted"
        };
        let unread = match peer.unread {
            0 => String::new(),
            bytes => format!("; {bytes} bytes unread"),
        };
        lines.push((*at, format!("the upstream's end was still {held}{unread}")));
    }
    if let Some((at, queue)) = &stall.queue {
        let (local, queued, limit) = (queue.local, queue.queued, queue.limit);
        lines.push((
            *at,
            format!("{queued} connections waited on {local}; its limit is {limit}"),
        ));
    }
    if let Some((at, full)) = &stall.full {
        lines.push((*at, format!("{who}: {}", used(full))));
    }
    if let Some((at, doing)) = &stall.doing {
        lines.push((*at, format!("{who}: {}", activity(doing))));
    }
    lines
}

/// What to do about this one.
#[must_use]
pub fn remedy(stall: &Stall, cause: Cause) -> Option<String> {
    let doing = stall.doing.as_ref().map(|(_, doing)| doing);
    let full = stall.full.as_ref().map(|(_, full)| full);
    match (doing, full) {
        (_, Some(full)) => Some(format!(
            "raise the process's limit of {} open files (LimitNOFILE, ulimit -n), or find what leaks them",
            full.most
        )),
        (Some(doing), _) if doing.frozen => Some("thaw its cgroup".to_owned()),
        (Some(doing), _) if doing.state == 'T' => {
            Some(format!("let it run on: kill -CONT {}", doing.pid.0))
        }
        (Some(doing), _) if doing.throttled >= HELD_BACK => Some(format!(
            "raise its cgroup's processor limit above {} thousandths of one",
            doing.allowed
        )),
        (Some(doing), _) if cause == Cause::AppStalled => doing.on.as_ref().map(|on| {
            format!("look at what it waits for: {on}; or raise the gateway's read timeout")
        }),
        (_, _) => None,
    }
}
