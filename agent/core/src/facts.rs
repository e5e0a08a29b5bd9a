//! The dated lines that a verdict stands on.

use crate::address::Address;
use crate::amounts::{bare, errno, label, memory as amount, signal};
use crate::attempts::Attempt;
use crate::body;
use crate::connections::OtherEnd;
use crate::diagnose::raced;
use crate::event::{How, OomReport};
use crate::evidence::{Complete, Evidence};
use crate::listeners::Place;
use crate::memory::Memory;
use crate::names::Unresolved;
use crate::network;
use crate::processes::{Ending, Way};
use crate::stalled;
use crate::units::Timestamp;
use crate::unix_words;
use crate::verdict::{Fact, Symptom};

type Lines = Vec<(Timestamp, String)>;

/// Every line, oldest first, relative to the answer.
#[must_use]
pub fn facts(evidence: &Evidence, memory: &Memory) -> Vec<Fact> {
    let mut lines = Lines::new();
    let answered = evidence.answer.at;
    if let Some(arrived) = crate::fitting::arrival(&evidence.answer) {
        lines.push((arrived, "the request arrived".to_owned()));
    }
    for attempt in &evidence.joined.attempts {
        let symptom = body::symptom(&evidence.answer, attempt);
        tried(attempt, symptom, &mut lines);
    }
    passed_on(evidence, &mut lines);
    if let Some(end) = &evidence.other_end {
        left(
            end,
            evidence
                .deciding()
                .is_some_and(|own| broke_off(own, evidence.symptom)),
            memory,
            &mut lines,
        );
    }
    if let Some(ending) = &evidence.ending {
        ended(ending, memory, &mut lines);
    }
    packets(evidence, &mut lines);
    unix_words::facts(evidence, &mut lines);
    if let Some(place) = &evidence.place {
        listened(place, &mut lines);
    }
    lines.extend(stalled::lines(&evidence.stall, memory));
    asked(evidence, &mut lines);
    failed_before(evidence, &mut lines);
    if let (Some(id), Some(attempt)) = (&evidence.inner, evidence.deciding()) {
        lines.push((
            attempt.at,
            format!("the upstream is a gateway on this host: its verdict is {id}"),
        ));
    }
    if let Some(line) = missing(&evidence.complete) {
        lines.push((answered, line));
    }
    lines.sort_by_key(|(at, _)| *at);
    let fact = |(at, fact): (Timestamp, String)| Fact {
        at_ms: at.millis_from(answered),
        fact,
    };
    lines.into_iter().map(fact).collect()
}

fn packets(evidence: &Evidence, lines: &mut Lines) {
    if let Some((at, reset)) = &evidence.reset {
        let reason = reset.reason.as_deref().unwrap_or("no reason given");
        let local = Address(reset.local);
        lines.push((*at, format!("this host sent a RST from {local}: {reason}")));
    }
    if let Some((at, drop)) = &evidence.drop {
        lines.push((*at, network::dropped(drop)));
    }
    if let Some((at, overflow)) = &evidence.overflow {
        lines.push((*at, network::overflowed(overflow)));
    }
}

/// The failures that had put the upstreams down.
fn failed_before(evidence: &Evidence, lines: &mut Lines) {
    for failure in &evidence.failures {
        let why = failure
            .cause
            .map_or(crate::amounts::symptom(failure.symptom), |it| it.id());
        lines.push((
            failure.at,
            format!("an earlier attempt at {} failed: {why}", failure.upstream),
        ));
    }
}

fn asked(evidence: &Evidence, lines: &mut Lines) {
    if let Some((at, how, name)) = &evidence.unresolved {
        let line = match how {
            Unresolved::Absent => format!("the name server knows no {name}"),
            Unresolved::Failed => format!("the name server failed for {name}"),
            Unresolved::Silent => {
                "the gateway turned to a name server, which did not answer".to_owned()
            }
        };
        lines.push((*at, line));
    }
}

fn tried(attempt: &Attempt, symptom: Symptom, lines: &mut Lines) {
    let flow = &attempt.flow;
    if let Some(began) = attempt.began() {
        let line = match (flow.said, flow.established) {
            (0, _) | (_, false) => format!("the gateway dialled {}", flow.target()),
            (1, true) => format!("the request left for {}", flow.target()),
            (said, true) => format!(
                "the request left for {} on a pooled connection, its request {said}",
                flow.target()
            ),
        };
        lines.push((began, line));
    }
    if let Some(fin) = flow.fin_at {
        lines.push((fin, format!("{} sent FIN", flow.target())));
    }
    if let Some(reset) = flow.reset_at {
        lines.push((reset, format!("{} sent RST", flow.target())));
    }
    let error = |attempt: &Attempt| {
        let (hard, soft) = (attempt.flow.error, attempt.flow.soft_error);
        let number = if hard.0 == 0 { soft } else { hard };
        match number.0 {
            0 => String::new(),
            _ => format!(": {}", errno(number)),
        }
    };
    let heard = flow.heard_bytes;
    let line = match symptom {
        Symptom::Refused | Symptom::Unreachable | Symptom::ConnectError => {
            format!("the dial failed{}", error(attempt))
        }
        Symptom::ConnectTimeout => "the dial was given up".to_owned(),
        Symptom::Eof => format!("the gateway saw end-of-file after {heard} bytes"),
        Symptom::Reset => format!("the gateway saw a reset after {heard} bytes"),
        Symptom::NoAnswer => "the gateway gave up waiting; nothing had come".to_owned(),
        Symptom::BadAnswer => format!("the gateway let go after {heard} bytes of the answer"),
        Symptom::TlsFailure => crate::sentence::protocol::fact(flow),
        Symptom::Relayed => {
            format!(
                "{} answered {}",
                flow.target(),
                attempt.relayed.unwrap_or_default()
            )
        }
        Symptom::Truncated if flow.reset_heard => {
            format!("the gateway saw a reset after {heard} bytes, within the answer's body")
        }
        Symptom::Truncated if flow.fin_heard => {
            format!("the gateway saw end-of-file after {heard} bytes, within the answer's body")
        }
        Symptom::Truncated => {
            format!("the gateway gave up waiting for more than {heard} bytes of the answer")
        }
        Symptom::NoAttempt => return,
    };
    lines.push((attempt.at, line));
}

/// Whether the gateway had a part of an answer, and no more came.
fn broke_off(attempt: &Attempt, symptom: Symptom) -> bool {
    let ended = [Symptom::Eof, Symptom::Reset, Symptom::Truncated].contains(&symptom);
    ended && attempt.flow.heard_bytes > 0
}

/// How the client was left with a part of its answer.
fn passed_on(evidence: &Evidence, lines: &mut Lines) {
    let answer = &evidence.answer;
    if answer.cut.is_some() {
        let line = format!(
            "the gateway ended its client's connection, {}",
            body::passed_on(answer)
        );
        lines.push((answer.at, line));
    }
}

fn left(end: &OtherEnd, midway: bool, memory: &Memory, lines: &mut Lines) {
    let flow = &end.flow;
    let who = flow.task.as_ref().map_or_else(
        || "the kernel".to_owned(),
        |task| label(&memory.processes.who(task, end.at)),
    );
    let dying = if flow.dying { "the dying " } else { "" };
    let how = match flow.how {
        How::Fin if midway => "closed the connection in the middle of its answer",
        How::Fin if flow.heard_bytes == 0 && flow.said > 0 => {
            "closed the connection with no request outstanding"
        }
        How::Fin => "closed the connection with the request unanswered",
        How::Unread => "closed the connection with bytes unread, which sends a RST",
        How::Linger => "closed the connection with SO_LINGER 0, which sends a RST",
        How::Queued => "closed the listener while the connection waited in its queue",
        How::Released if flow.task.is_none() && midway => {
            "ended the upstream's end, which the gateway's RST reached in the middle of its answer"
        }
        How::Released if flow.task.is_none() => {
            "ended the upstream's end, which the gateway's RST reached with the request unanswered"
        }
        How::Released => "let go of the connection, which had ended before",
        How::Open => "still held the connection",
    };
    let unread = if flow.unread > 0 {
        format!("; {} bytes unread", flow.unread)
    } else {
        String::new()
    };
    lines.push((end.at, format!("{dying}{who} {how}{unread}")));
    if !midway
        && raced(end)
        && let Some(said) = flow.said_at
    {
        lines.push((
            said,
            format!("{who} had sent its last answer on this connection"),
        ));
    }
    if let Some(task) = &flow.task
        && let Some((sent, stop)) = memory.processes.stop_before(task.pid, end.at)
    {
        lines.push((
            sent,
            format!("{} to {who} by {}", signal(stop.number), bare(&stop.sender)),
        ));
    }
}

fn ended(ending: &Ending, memory: &Memory, lines: &mut Lines) {
    if let Way::Signalled {
        signal: sent,
        sent: at,
        order,
        ..
    } = &ending.way
    {
        if let Some((at, order)) = order {
            let master = bare(&order.target);
            let (name, by) = (signal(order.number), bare(&order.sender));
            lines.push((*at, format!("{name} to its master {master} by {by}")));
        }
        let who = label(&memory.processes.who(&ending.task, ending.at));
        let sender = format!("{}, uid {}", bare(&sent.sender), sent.sender.uid);
        let line = format!("{} to {who} by {sender}", signal(sent.number));
        if !lines
            .iter()
            .any(|(when, told)| when == at && line.starts_with(told.as_str()))
        {
            lines.push((*at, line));
        }
    }
    if ending.gone {
        lines.push((ending.at, end(ending, memory)));
    }
}

/// How a process ended, in a line.
#[must_use]
pub fn end(ending: &Ending, memory: &Memory) -> String {
    let who = label(&memory.processes.who(&ending.task, ending.at));
    match &ending.way {
        Way::Oom(report) => {
            let told = report.as_ref().map_or_else(
                || "; the kernel log did not tell at which limit".to_owned(),
                oom,
            );
            format!("{who} died of SIGKILL by the kernel's OOM killer{told}")
        }
        Way::Crash {
            signal: number,
            core,
        } => {
            let core = if *core { ", core dumped" } else { "" };
            format!(
                "{who} died of {}, raised by itself or the kernel{core}",
                signal(*number)
            )
        }
        Way::Exit(status) => format!("{who} exited with status {status}"),
        Way::Signalled {
            signal: sent,
            status,
            ..
        } => match status {
            Some(status) => format!("{who} exited with status {status}"),
            None => format!("{who} died of {}", signal(sent.number)),
        },
        Way::Killed(number) => format!("{who} died of {}", signal(*number)),
    }
}

fn oom(report: &OomReport) -> String {
    let at = if report.by_cgroup {
        " at its cgroup's limit"
    } else {
        ": the host had no memory"
    };
    let limit = report
        .limit_kib
        .map(|kib| format!(" of {}", amount(kib)))
        .unwrap_or_default();
    let of = report
        .cgroup
        .as_ref()
        .map(|cgroup| format!(" ({cgroup})"))
        .unwrap_or_default();
    let rss = report
        .rss_kib
        .map(|kib| format!(", rss {}", amount(kib)))
        .unwrap_or_default();
    format!("{at}{limit}{of}{rss}")
}

fn listened(place: &Place, lines: &mut Lines) {
    match place {
        Place::Closed(closed) => {
            let dying = if closed.listener.dying {
                "the dying "
            } else {
                ""
            };
            let who = bare(&closed.listener.task);
            let line = format!(
                "{dying}{who} closed the listener on {}",
                closed.listener.local
            );
            lines.push((closed.at, line));
        }
        Place::Later(open)
        | Place::OtherAddress(open)
        | Place::Moved(open)
        | Place::SameService(open)
        | Place::OnlyOther(open)
        | Place::Neighbour(open) => {
            let (who, local) = (bare(&open.listener.task), open.listener.local);
            let seen = if open.listener.before {
                "was listening"
            } else {
                "began to listen"
            };
            lines.push((open.at, format!("{who} {seen} on {local}")));
        }
        Place::Taken | Place::Nothing => {}
    }
}

fn missing(complete: &Complete) -> Option<String> {
    match complete {
        Complete::Yes => None,
        Complete::Lost(count) => Some(format!(
            "{count} records were lost that may have borne on this"
        )),
        Complete::Late => Some("the connection was opened before probe502 started".to_owned()),
        Complete::Missing(hooks) => Some(format!("this kernel lacks: {}", hooks.join(", "))),
    }
}
