//! The steps of a deploy, dated.

use crate::amounts::{between, label, signal as name};
use crate::deploys::episode::Episode;
use crate::event::Signal;
use crate::facts::end;
use crate::memory::Memory;
use crate::processes::Ending;
use crate::units::Timestamp;
use crate::verdict::Fact;

/// Workers that are named; more are counted.
const NAMED: usize = 4;

type Lines = Vec<(Timestamp, String)>;

/// Who sent a signal.
#[must_use]
pub fn sender((at, signal): &(Timestamp, Signal), memory: &Memory) -> String {
    if signal.kernel {
        return "the kernel, as from a terminal".to_owned();
    }
    label(&memory.processes.who(&signal.sender, *at))
}

/// Every step, oldest first.
#[must_use]
pub fn steps(episode: &Episode, ending: Option<&Ending>, memory: &Memory) -> Vec<Fact> {
    let mut lines = Lines::new();
    let owner = label(&memory.processes.who(&episode.owner, episode.began));
    for order in &episode.orders {
        let by = sender(order, memory);
        let line = format!("{} to {owner} by {by}", name(order.1.number));
        lines.push((order.0, line));
    }
    workers(episode, &owner, memory, &mut lines);
    listeners(episode, memory, &mut lines);
    if let Some(ending) = ending {
        lines.push((ending.at, end(ending, memory)));
    } else if let Some(at) = episode.exit {
        lines.push((at, format!("{owner} ended")));
    }
    if let Some(at) = episode.answered {
        lines.push((at, "the old one began its last answer".to_owned()));
    }
    failures(episode, &mut lines);
    lines.sort_by_key(|(at, _)| *at);
    let fact = |(at, fact): (Timestamp, String)| Fact {
        at_ms: at.millis_from(episode.began),
        fact,
    };
    lines.into_iter().map(fact).collect()
}

fn workers(episode: &Episode, owner: &str, memory: &Memory, lines: &mut Lines) {
    if let Some(first) = episode.stopped.values().map(|(at, _)| *at).min() {
        let count = episode.stopped.len();
        let by = episode
            .stopped
            .values()
            .all(|(_, signal)| signal.sender.pid == episode.owner.pid);
        let by = if by {
            format!("{owner} told")
        } else {
            "signals told".to_owned()
        };
        let workers = if count == 1 { "worker" } else { "workers" };
        lines.push((first, format!("{by} {count} {workers} to stop")));
    }
    let mut orderly = Vec::new();
    let mut named = 0;
    for (at, task) in episode.ended.values() {
        let ending = memory.processes.ending(task.pid, episode.began);
        match ending.filter(|ending| !ending.is_orderly() && named < NAMED) {
            Some(ending) => {
                named += 1;
                lines.push((ending.at, end(&ending, memory)));
            }
            None => orderly.push(*at),
        }
    }
    if let Some(last) = orderly.iter().max() {
        let line = match orderly.len() {
            1 => "a worker had ended".to_owned(),
            many => format!("the last of {many} workers had ended"),
        };
        lines.push((*last, line));
    }
}

fn listeners(episode: &Episode, memory: &Memory, lines: &mut Lines) {
    for left in &episode.places {
        let local = left.listener.local;
        if let Some((at, task)) = &left.closed {
            let who = label(&memory.processes.who(task, *at));
            lines.push((*at, format!("{who} closed the listener on {local}")));
        }
        if let Some(open) = &left.successor {
            let who = label(&memory.processes.who(&open.listener.task, open.at));
            lines.push((open.at, format!("{who} began to listen on {local}")));
        }
    }
    if let Some((count, at)) = episode.queued {
        let line = match count {
            1 => "1 connection that waited to be accepted was reset".to_owned(),
            many => format!("{many} connections that waited to be accepted were reset"),
        };
        lines.push((at, line));
    }
    if let (Some(heir), Some(exit)) = (&episode.heir, episode.exit) {
        let who = label(&memory.processes.who(heir, exit));
        lines.push((exit, format!("{who} went on with its listener")));
    }
}

fn failures(episode: &Episode, lines: &mut Lines) {
    let failed = &episode.failed;
    let (Some(first), Some(last)) = (failed.first, failed.last) else {
        return;
    };
    match failed.count() {
        1 => lines.push((first, "the one answer that failed".to_owned())),
        many => {
            lines.push((first, format!("the first of {many} failed answers")));
            let after = between(first, last);
            lines.push((
                last,
                format!("the last failed answer, {after} after the first"),
            ));
        }
    }
}
