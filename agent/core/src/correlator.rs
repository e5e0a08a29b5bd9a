//! Events in, verdicts out: answers wait their grace here, then are joined and judged.

mod recall;
#[cfg(test)]
mod tests;
mod tracked;
mod unix;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::asking::{Asking, Wish};
use crate::attempts::Attempts;
use crate::body;
use crate::checks;
use crate::clock::Clock;
use crate::connections::names_of_dialled;
use crate::diagnose::diagnose;
use crate::ends::{cut, is_silent, role};
use crate::event::{Event, Fact, Flow, Role};
use crate::evidence::Evidence;
use crate::habits::Habits;
use crate::joining::{Answer, Joined, join_at_once, join_late};
use crate::memory::Memory;
use crate::notice::Notice;
use crate::recent::Recent;
pub use crate::settings::Settings;
use crate::stories::Stories;
use crate::strangers;
use crate::telling::tell;
use crate::twins::contest;
use crate::units::{Pid, Timestamp};
use crate::verdict::{Cut, Join, Kind, Verdict};

/// Answers that may wait at once; beyond, the oldest is judged by what is known.
const WAITING: usize = 8192;
/// Where so many wait, none waits for a process's exit: the verdict is then inferred at most.
const PATIENT: usize = 4096;

/// An answer in its grace.
#[derive(Debug)]
struct Waiting {
    answer: Answer,
    joined: Option<Joined>,
    /// The process whose exit it waits for.
    exit_of: Option<Pid>,
    /// The senses were asked what no hook tells.
    asked: bool,
}

/// Joins answers to their upstream attempts and those to what happened to them.
#[derive(Debug)]
pub struct Correlator {
    settings: Settings,
    memory: Memory,
    attempts: Attempts,
    /// By when each is due, then in the answers' order.
    waiting: BTreeMap<(Timestamp, u64), Waiting>,
    /// Each thread's last answer: what it did before that belongs to others.
    last_answers: Recent<u32, Timestamp>,
    /// Processes that have answered: gateways.
    gateways: Recent<Pid, ()>,
    habits: Habits,
    /// Who heard a failed answer on which connection.
    hearers: Recent<u64, (Timestamp, Pid)>,
    asking: Asking,
    verdicts: VecDeque<Verdict>,
    stories: Stories,
    acted: bool,
    next: u64,
}

impl Correlator {
    /// An empty memory.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            settings,
            memory: Memory::default(),
            attempts: Attempts::default(),
            waiting: BTreeMap::new(),
            last_answers: Recent::new(4096, hour),
            gateways: Recent::new(1024, hour),
            habits: Habits::default(),
            hearers: Recent::new(8192, Duration::from_secs(60)),
            asking: Asking::default(),
            verdicts: VecDeque::new(),
            stories: Stories::default(),
            acted: false,
            next: 0,
        }
    }

    /// Takes in one fact. Only a tick lets time pass.
    pub fn handle_event(&mut self, event: Event) {
        let at = event.at;
        self.stories.heed(&event, &self.memory);
        match event.fact {
            // The hooks attach one after another: before the last one, some saw it and some did not.
            Fact::Answered(_) if self.memory.is_before(at) => {}
            Fact::Answered(flow) => self.answered(at, self.dated(flow)),
            Fact::Ended(flow) => self.ended(at, self.dated(flow)),
            Fact::Heard(flow) if flow.marks.unwatched => self.stories.rescued(at, &flow),
            Fact::Heard(flow) => self.heard(at, self.dated(flow)),
            Fact::Reset(reset) => self.memory.packets.reset(at, reset),
            Fact::Listens(listener) => {
                self.asking
                    .about(at, &listener.task, &self.memory.processes);
                self.memory.listeners.open(at, listener);
            }
            Fact::Listened(listener) => self.memory.listeners.close(at, listener),
            Fact::Death(death) => self.died(at, death),
            Fact::Signal(signal) => {
                self.asking
                    .about(at, &signal.sender, &self.memory.processes);
                self.memory.processes.signal(at, signal);
            }
            Fact::Victim(victim) => self.memory.processes.choose(at, victim.pid),
            Fact::Drop(drop) => self.memory.packets.dropped(at, drop),
            Fact::Overflow(overflow) => self.memory.packets.overflowed(at, overflow),
            Fact::Lookup(lookup) => self.memory.lookups.insert(at, lookup.pid, lookup),
            Fact::OomReport(report) => self.memory.processes.report(at, report),
            Fact::Process(process) => self.met(at, process),
            Fact::Pod(pod) => self.memory.processes.pods.heed(at, pod),
            Fact::Peer(peer) => self.peer_seen(at, peer),
            Fact::Queue(queue) => self.queue_seen(at, queue),
            Fact::Doing(doing) => self.memory.looks.see_doing(at, doing),
            Fact::Descriptors(open) => self.memory.looks.see_descriptors(at, open),
            Fact::Ports(ports) => self.memory.looks.see_ports(at, ports),
            fact @ (Fact::Dialler(_) | Fact::Call(_) | Fact::Looked(_)) => self.of_unix(at, fact),
            Fact::UnixListens(listener) => self.listens_on_a_path(at, listener),
            // The kernel log's losses take no connection's evidence away.
            Fact::Lost(lost) if lost.stage == "log" => {}
            Fact::Lost(lost) => self.memory.lose(at, &lost),
            Fact::Attached(attached) => {
                let clock = Clock {
                    at,
                    wall: attached.wall,
                };
                self.memory.ordered = attached.ordered;
                self.memory.attach(clock, attached.missing);
            }
            Fact::Tick => self.handle_timeout(at),
        }
        self.stories.follow(&mut self.attempts);
        strangers::forget(&mut self.attempts, &self.gateways, &self.memory);
    }

    /// Lets time pass: judges what has waited long enough.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.handle_some(now, usize::MAX);
    }

    /// The same for so many answers at most, so that their verdicts can be told; whether more are due.
    pub fn handle_some(&mut self, now: Timestamp, at_most: usize) -> bool {
        let more = self.judge_until(now, at_most);
        if !more {
            self.stories.pass(now, &mut self.attempts, &self.memory);
        }
        more
    }

    /// Nothing follows: judges every answer that waits.
    pub fn handle_end(&mut self) {
        self.judge_until(Timestamp(u64::MAX), usize::MAX);
        self.stories.end(&self.memory);
    }

    fn judge_until(&mut self, now: Timestamp, at_most: usize) -> bool {
        for judged in 0.. {
            let first = self.waiting.first_entry();
            let Some(due) = first.filter(|first| first.key().0 <= now) else {
                break;
            };
            if judged == at_most {
                return true;
            }
            let ((_, number), waiting) = due.remove_entry();
            self.acted = true;
            self.judge(number, waiting, Some(now));
        }
        false
    }

    /// When `handle_timeout` is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let answers = self.waiting.first_key_value().map(|((due, _), _)| *due);
        answers.into_iter().chain(self.stories.due()).min()
    }

    /// What is told besides verdicts, in the order of judgement.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.stories.poll()
    }

    /// Whether time decided anything since this was last asked: a recording must then say when.
    pub fn has_acted(&mut self) -> bool {
        let stories = self.stories.has_acted();
        std::mem::take(&mut self.acted) || stories
    }

    /// The next verdict, in the order of judgement.
    pub fn poll_verdict(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    /// The next question to the world; facts answer it.
    pub fn poll_wish(&mut self) -> Option<Wish> {
        self.asking.pop()
    }

    /// Whether a question waits: what raised it belongs into a recording.
    #[must_use]
    pub fn is_wishing(&self) -> bool {
        self.asking.is_wishing()
    }

    /// A connection that began before the senses were complete is as old as they are.
    fn dated(&self, mut flow: Box<Flow>) -> Box<Flow> {
        let opened = flow.opened_at;
        flow.late |= opened.is_some_and(|opened| self.memory.is_before(opened));
        flow
    }

    fn answered(&mut self, at: Timestamp, flow: Box<Flow>) {
        if let Some(status) = flow.status {
            self.failed(at, flow, (Kind::Answer, status, None));
        }
    }

    fn failed(
        &mut self,
        at: Timestamp,
        mut flow: Box<Flow>,
        (kind, status, cut): (Kind, u16, Option<Cut>),
    ) {
        let Some(task) = flow.task.clone() else {
            return;
        };
        self.asking.about(at, &task, &self.memory.processes);
        let said = std::mem::take(&mut flow.said_head);
        let answer = self.answer((at, task, flow), &said, (kind, status, cut));
        let manner = answer.manner;
        let joined = join_at_once(&answer, &mut self.attempts);
        if kind == Kind::Answer {
            self.last_answers.insert(at, answer.task.tid, at);
            self.gateways.insert(at, answer.task.pid, ());
        }
        self.next += 1;
        if let Some(joined) = &joined {
            self.remember_failure(self.next, &answer, joined);
        }
        let deciding = joined.as_ref().and_then(|joined| joined.attempts.last());
        let asked = deciding.is_some();
        if let Some(attempt) = deciding {
            let symptom = body::symptom(&answer, attempt);
            self.asking.why(at, (attempt, symptom), &self.memory);
        }
        let scattered = joined.is_none() && (manner.hops || manner.late);
        let due = at.plus(if scattered {
            self.settings.scattered
        } else {
            self.settings.least
        });
        self.waiting.insert(
            (due, self.next),
            Waiting {
                answer,
                joined,
                exit_of: None,
                asked,
            },
        );
        if self.waiting.len() > WAITING
            && let Some(((_, number), oldest)) = self.waiting.pop_first()
        {
            self.judge(number, oldest, None);
        }
    }

    fn ended(&mut self, at: Timestamp, flow: Box<Flow>) {
        if flow.role == Role::Accepted && body::is_whole(&flow) {
            return;
        }
        self.stories.ended(at, &flow, &mut self.memory);
        self.dialled(at, &flow);
        if let Some(task) = &flow.task {
            self.asking.about(at, task, &self.memory.processes);
        }
        match role(&flow) {
            Role::Dialled => {
                self.habits.ended(at, &flow);
                self.attempts.ended(at, flow);
            }
            Role::Accepted => {
                if is_silent(&flow) && self.waiting.len() < PATIENT {
                    let (status, cut) = cut(&flow).unzip();
                    let told = (Kind::Silent, status.unwrap_or_default(), cut);
                    self.failed(at, flow.clone(), told);
                }
                self.memory.connections.end(at, flow);
            }
            Role::Unknown => {
                self.memory.connections.end(at, flow.clone());
                self.attempts.ended(at, flow);
            }
        }
    }

    fn heard(&mut self, at: Timestamp, flow: Box<Flow>) {
        self.dialled(at, &flow);
        if let Some(owner) = flow.owner.as_ref().or(flow.task.as_ref()) {
            self.asking.about(at, owner, &self.memory.processes);
            for name in names_of_dialled(&flow) {
                self.hearers.insert(at, name.short(), (at, owner.pid));
            }
        }
        self.attempts.heard(at, flow);
    }

    /// `now` is absent where an answer must be judged before its time.
    fn judge(&mut self, number: u64, mut waiting: Waiting, now: Option<Timestamp>) {
        let seen = now.unwrap_or(waiting.answer.at);
        if waiting.joined.is_none() {
            self.refresh(&mut waiting.answer);
            waiting.joined = join_late(&waiting.answer, &mut self.attempts, seen);
            if let Some(joined) = &waiting.joined {
                self.remember_failure(number, &waiting.answer, joined);
            }
        }
        // Who closes on its client is a gateway only where an upstream failed it first.
        let exact = |joined: &Joined| matches!(joined.by, Join::TaskOrder | Join::RequestLine);
        if waiting.answer.kind == Kind::Silent && !waiting.joined.as_ref().is_some_and(exact) {
            return;
        }
        // A piece of a body may begin like an answer; alone, it is none.
        let answer = &waiting.answer;
        if waiting.joined.is_none() && (answer.flow.continued || self.is_upstreams_own(answer)) {
            return;
        }
        if let Some(due) = now.and_then(|now| self.ask(&mut waiting, now)) {
            self.waiting.insert((due, number), waiting);
            return;
        }
        let Waiting {
            answer,
            joined,
            asked,
            ..
        } = waiting;
        let joined = joined.unwrap_or_else(Joined::nothing);
        let mut evidence = Evidence::gather(answer, joined, &self.memory);
        let more = self.grace(&evidence, seen);
        let more = more.filter(|(due, _)| now.is_none_or(|now| *due > now));
        if let Some((due, exit_of)) = more {
            if now.is_some() && self.waiting.len() < PATIENT {
                let Evidence { answer, joined, .. } = evidence;
                let joined = (!joined.attempts.is_empty()).then_some(joined);
                self.waiting.insert(
                    (due, number),
                    Waiting {
                        answer,
                        joined,
                        exit_of,
                        asked,
                    },
                );
                return;
            }
            evidence.is_hurried = exit_of.is_some();
        }
        contest(&mut evidence, &self.attempts, seen);
        evidence.weigh_rivals(&self.memory);
        evidence.weigh_absence(&self.attempts, &self.memory);
        checks::weigh(&mut evidence, &self.attempts, &self.memory);
        let judgement = checks::doubt(diagnose(&evidence), &evidence);
        self.memory.explain(number, judgement.cause);
        self.stories.judged(&evidence, judgement.cause);
        self.verdicts
            .push_back(tell(&evidence, judgement, &self.memory));
    }
}
