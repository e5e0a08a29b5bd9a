//! A judgement becomes a verdict: who, what, when, and the words.

use crate::address::Address;
use crate::attempts::Attempt as Tried;
use crate::body;
use crate::cause::Cause;
use crate::diagnose::Judgement;
use crate::evidence::{Complete, Evidence, Failure};
use crate::facts::facts;
use crate::fitting::arrival;
use crate::http;
use crate::joining::Answer;
use crate::memory::Memory;
use crate::processes::Processes;
use crate::remedy::remedy;
use crate::says::gateway_says;
use crate::sentence::sentence;
use crate::units::{Cookie, Timestamp};
use crate::verdict::{Attempt, Failed, Gateway, Request, SCHEMA, Upstream, Verdict, Who};
use crate::warnings::{collide, idle, measured};

/// The whole verdict.
#[must_use]
pub fn tell(evidence: &Evidence, judgement: Judgement, memory: &Memory) -> Verdict {
    let answer = &evidence.answer;
    let upstream = evidence
        .deciding()
        .map(|attempt| upstream(evidence, attempt, memory));
    let who = upstream.as_ref().and_then(|upstream| upstream.who.as_ref());
    let gateway = Gateway {
        who: memory.processes.who(&answer.task, answer.at),
        tid: answer.task.tid,
        listen: Address(answer.flow.local).to_string(),
    };
    let timers = (judgement.cause == Cause::KeepaliveRace).then(|| measured(evidence, memory));
    let mut verdict = Verdict {
        schema: SCHEMA.to_owned(),
        id: id(answer.at, answer.flow.cookie),
        time: memory.clock.date(answer.at),
        answered_at: answer.at,
        kind: answer.kind,
        status: answer.status,
        cut: answer.cut,
        symptom: evidence.symptom,
        cause: judgement.cause,
        confidence: judgement.confidence,
        sentence: sentence(evidence, judgement.cause, memory),
        remedy: remedy(evidence, judgement.cause, who),
        gateway_says: gateway_says(evidence, judgement.cause, &gateway.who),
        gateway,
        client: Address(answer.flow.remote).to_string(),
        request: request(answer),
        upstream,
        joined_by: evidence.joined.by,
        attempts: evidence
            .joined
            .attempts
            .iter()
            .map(|one| attempt(one, answer))
            .collect(),
        timers: timers.flatten().as_ref().map(idle),
        failures: failed(evidence),
        evidence: facts(evidence, memory),
        lost: match evidence.complete {
            Complete::Lost(count) => count,
            Complete::Yes | Complete::Late | Complete::Missing(_) => 0,
        },
    };
    if let Some(timers) = timers.flatten().filter(|timers| timers.gateway.is_some()) {
        collide(&mut verdict, &timers);
    }
    verdict
}

/// The answer's moment and socket, in hexadecimal.
#[must_use]
pub fn id(at: Timestamp, Cookie(cookie): Cookie) -> String {
    format!("{:x}-{cookie:x}", at.0)
}

fn request(answer: &Answer) -> Request {
    let line = http::request_line(&answer.flow.heard_head);
    Request {
        method: line.as_ref().map(|line| line.method.to_owned()),
        path: line.as_ref().map(|line| line.path().to_owned()),
        host: line
            .as_ref()
            .and_then(|line| line.host().map(str::to_owned)),
        outstanding_ms: arrival(answer).map(|arrived| answer.at.millis_from(arrived)),
    }
}

fn failed(evidence: &Evidence) -> Vec<Failed> {
    let one = |failure: &Failure| Failed {
        at_ms: failure.at.millis_from(evidence.answer.at),
        upstream: failure.upstream.to_string(),
        symptom: failure.symptom,
        cause: failure.cause,
    };
    evidence.failures.iter().map(one).collect()
}

fn attempt(tried: &Tried, answer: &Answer) -> Attempt {
    let answered = answer.at;
    Attempt {
        addr: tried.flow.target().to_string(),
        symptom: body::symptom(answer, tried),
        reused: tried.reused(),
        began_ms: tried.began().unwrap_or(tried.at).millis_from(answered),
        ended_ms: tried.at.millis_from(answered),
    }
}

/// Who held the other end: its closer, else whoever listens or listened there.
fn upstream(evidence: &Evidence, attempt: &Tried, memory: &Memory) -> Upstream {
    let flow = &attempt.flow;
    let held = evidence
        .other_end
        .as_ref()
        .and_then(|end| end.flow.task.as_ref());
    let buried = evidence.ending.as_ref().map(|ending| &ending.task);
    let listening = || {
        let here = memory.listeners.covering(flow.netns, flow.remote);
        let elsewhere = || {
            let loopback = flow.remote.ip().is_loopback();
            let shown = memory.listeners.shows(flow.remote.ip());
            (!loopback && shown)
                .then(|| memory.listeners.only_covering(flow.remote))
                .flatten()
        };
        here.or_else(elsewhere)
            .filter(|_| flow.established && flow.path.is_none())
            .map(|open| &open.listener.task)
    };
    let stalled = evidence.stall.server.as_ref();
    let task = stalled.or(held).or(buried).or_else(listening);
    Upstream {
        addr: flow.target().to_string(),
        real: evidence.real.map(|real| Address(real).to_string()),
        who: task.map(|task| named(task, attempt, &memory.processes)),
    }
}

fn named(task: &crate::event::Task, attempt: &Tried, processes: &Processes) -> Who {
    processes.who(task, attempt.at)
}
