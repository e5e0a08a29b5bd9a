//! What an answer waits for, and what it leaves behind for the answers after it.

use std::time::Duration;

use super::{Correlator, Waiting};
use crate::answer::Request;
use crate::asking::Wish;
use crate::body;
use crate::connections::names_of_accepted;
use crate::event::{Death, Flow, Task};
use crate::evidence::{Evidence, Failure};
use crate::failures;
use crate::http;
use crate::joining::{Answer, Joined};
use crate::letting_go::is_next_by_order;
use crate::looks::{Peer, Queue};
use crate::own_page;
use crate::shapes::Shape;
use crate::twins::shows_who_answers_first;
use crate::units::{Head, Pid, Timestamp};
use crate::verdict::{Cut, Kind};

impl Correlator {
    /// An answer that waits. What was said is not kept: many wait at once.
    pub(super) fn answer(
        &self,
        (at, task, flow): (Timestamp, Task, Box<Flow>),
        said: &Head,
        (kind, status, cut): (Kind, u16, Option<Cut>),
    ) -> Answer {
        Answer {
            before: self.last_answers.get(&task.tid).copied(),
            at,
            kind,
            status,
            cut,
            asked: http::asked(&flow.heard_head),
            request: Request::of(&flow, at),
            shape: Shape::of(status, said),
            is_followed: false,
            elsewhere: Vec::new(),
            manner: self.habits.of(at, task.pid, flow.threads),
            ordered: self.memory.ordered,
            wants_server: own_page::want(said),
            word: own_page::word(said),
            task,
            flow,
        }
    }

    /// An upstream's end was looked at.
    pub(super) fn peer_seen(&mut self, at: Timestamp, peer: Peer) {
        self.asking.about_peer(at, &peer, &self.memory.processes);
        self.memory.looks.see_peer(at, peer);
    }

    /// An accept queue was looked at.
    pub(super) fn queue_seen(&mut self, at: Timestamp, queue: Queue) {
        self.asking.about_queue(at, &queue, &self.memory.processes);
        self.memory.see_queue(at, queue);
    }

    /// A process ended: what awaited it is due.
    pub(super) fn died(&mut self, at: Timestamp, death: Death) {
        let pid = death.task.pid;
        self.asking.forget(pid);
        self.asking.inheritance(at, pid, &self.memory.listeners);
        self.memory.processes.bury(at, death);
        let freed: Vec<(Timestamp, u64)> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.exit_of == Some(pid))
            .map(|(key, _)| *key)
            .collect();
        for key in freed {
            if let Some(waiting) = self.waiting.remove(&key) {
                self.waiting.insert((key.0.min(at), key.1), waiting);
            }
        }
    }

    /// What has become known of its process and thread since it was given.
    pub(super) fn refresh(&mut self, answer: &mut Answer) {
        let last = self.last_answers.get(&answer.task.tid);
        answer.is_followed = last.is_some_and(|last| *last > answer.at);
        answer.elsewhere = failures::elsewhere(answer, &self.memory);
        if !answer.manner.orderly && shows_who_answers_first(answer, &self.attempts) {
            self.habits.answered_first(answer);
        }
        self.habits.refresh(answer);
    }

    /// Asks what would explain an answer that was joined late; until when it then waits.
    pub(super) fn ask(&mut self, waiting: &mut Waiting, now: Timestamp) -> Option<Timestamp> {
        if std::mem::replace(&mut waiting.asked, true) {
            return None;
        }
        let joined = waiting.joined.as_ref();
        let Some(attempt) = joined.and_then(|joined| joined.attempts.last()) else {
            self.asking.look(now, Wish::Calls);
            return None;
        };
        let asks = self.asking.why(
            now,
            (attempt, body::symptom(&waiting.answer, attempt)),
            &self.memory,
        );
        asks.then(|| now.plus(self.settings.look))
    }

    /// Until when a late fact may change the verdict, and whose exit it would be.
    pub(super) fn grace(
        &mut self,
        evidence: &Evidence,
        now: Timestamp,
    ) -> Option<(Timestamp, Option<Pid>)> {
        let at = evidence.answer.at;
        if let Some(pid) = evidence.may_yet_exit() {
            let due = self.exit_due((at, now), pid, evidence.is_stopping);
            return Some((due, Some(pid)));
        }
        // From the kill, not from the answer: a death may itself have been waited for.
        let died = evidence.ending.as_ref().map(|ending| ending.at.max(at));
        let told = died.filter(|_| evidence.may_yet_be_told());
        told.map(|died| (died.plus(self.settings.oom_report), None))
    }

    /// Until when a process that closed may yet exit for that very reason.
    fn exit_due(&mut self, (at, now): (Timestamp, Timestamp), pid: Pid, asked: bool) -> Timestamp {
        let (usual, last) = (
            at.plus(self.settings.late_exit),
            at.plus(self.settings.slow_exit),
        );
        let doing = self.memory.looks.doing(pid, usual).map(|(_, doing)| doing);
        match doing {
            _ if asked => last,
            Some(doing) if doing.is_busy() => last,
            Some(_) => usual,
            None if now < usual => usual,
            // It sleeps, or it has not come to its exit yet: worth one look.
            None if now < usual.plus(self.settings.look * 4) => {
                self.asking.look(now, Wish::Doing(pid));
                now.plus(self.settings.look)
            }
            None => usual,
        }
    }

    /// An upstream that answers an error to a gateway on this host: the gateway's answer counts.
    pub(super) fn is_upstreams_own(&self, answer: &Answer) -> bool {
        let mut names = names_of_accepted(&answer.flow).into_iter();
        let Some((heard, hearer)) = names.find_map(|name| self.hearers.get(&name.short())) else {
            return false;
        };
        let near = Duration::from_secs(1);
        let is_this = heard.since(answer.at) <= near && answer.at.since(*heard) <= near;
        // Whoever never answers so itself is a client, though it may listen for others.
        let is_gateway = self.gateways.get(hearer).is_some();
        is_this && *hearer != answer.task.pid && is_gateway
    }

    /// Who takes its twin's attempt would teach what is not so.
    fn learn(&mut self, answer: &Answer, joined: &Joined) {
        let own = joined.attempts.last();
        let has_twins = self.attempts.twins.has(answer);
        if !has_twins || own.is_some_and(|own| is_next_by_order(answer, own)) {
            self.habits.joined(answer, joined);
        }
    }

    pub(super) fn remember_failure(&mut self, number: u64, answer: &Answer, joined: &Joined) {
        self.learn(answer, joined);
        // One without attempts may be the upstream's own word, which has no verdict to point to.
        self.memory.connections.answered(answer.at, &answer.flow);
        // No gateway puts an upstream down for an answer that it had begun.
        let last = joined.attempts.last().filter(|_| answer.cut.is_none());
        let Some(attempt) = last.filter(|one| one.relayed.is_none()) else {
            return;
        };
        let failure = Failure {
            at: attempt.at,
            task: answer.task.clone(),
            port: answer.flow.local.port(),
            upstream: attempt.flow.target(),
            tried: joined
                .attempts
                .iter()
                .map(|one| one.flow.target())
                .collect(),
            symptom: attempt.symptom(),
            cause: None,
        };
        self.memory.fail(number, failure);
    }
}
