//! Warnings before the first failure: an upstream's idle timer that is shorter than its gateway's.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::amounts::{label, span};
use crate::cause::Cause;
use crate::event::{Flow, Task};
use crate::evidence::Evidence;
use crate::memory::Memory;
use crate::near::listens;
use crate::notice::{Dialler, WARNING, Warning};
use crate::recent::Recent;
use crate::timers::{Family, Measured, Place, Timers, family};
use crate::units::Timestamp;
use crate::verdict::{Confidence, Idle, Verdict};

/// How long a single close waits for a second that agrees, or for its closer's end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pairs that wait at once.
const WAITING: usize = 256;

type Pair = (Family, Place);

/// Pairs of a gateway and an upstream, each warned of once.
#[derive(Debug)]
pub struct Warnings {
    told: Recent<Pair, ()>,
    waiting: BTreeMap<Pair, (Timestamp, Timestamp, Task)>,
}

impl Default for Warnings {
    fn default() -> Self {
        Self {
            told: Recent::new(1024, Duration::from_secs(24 * 3600)),
            waiting: BTreeMap::new(),
        }
    }
}

impl Warnings {
    /// An upstream's idle timer ended a connection that this gateway still held.
    pub fn expect(&mut self, at: Timestamp, pair: Pair, task: Task) {
        let known = self.told.get(&pair).is_some() || self.waiting.contains_key(&pair);
        if !known && self.waiting.len() < WAITING {
            self.waiting.insert(pair, (at, at.plus(PATIENCE), task));
        }
    }

    /// When the next is due.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.waiting.values().map(|(_, due, _)| *due).min()
    }

    /// The warnings that time or a second close has made sure; whether anything was decided.
    pub fn pass(&mut self, now: Timestamp, memory: &Memory) -> (Vec<Warning>, bool) {
        let sure = |pair: &Pair| {
            let upstream = memory.clocks.of(pair).upstream;
            upstream.is_some_and(|upstream| upstream.samples > 1)
        };
        let ready = |(pair, (_, due, _)): &(&Pair, &(_, Timestamp, _))| *due <= now || sure(pair);
        let ready: Vec<Pair> = self
            .waiting
            .iter()
            .filter(ready)
            .map(|(pair, _)| *pair)
            .collect();
        let mut told = Vec::new();
        for pair in &ready {
            let Some((at, _, task)) = self.waiting.remove(pair) else {
                continue;
            };
            let warning = warning((pair, &task), (at, now), memory);
            if warning.is_some() {
                self.told.insert(now, *pair, ());
            }
            told.extend(warning);
        }
        (told, !ready.is_empty())
    }
}

fn warning(
    (pair, task): (&Pair, &Task),
    (seen, now): (Timestamp, Timestamp),
    memory: &Memory,
) -> Option<Warning> {
    let timers = memory.clocks.of(pair);
    let upstream = timers.upstream?;
    let shorter = |own: Measured| own.samples > 1 && own.idle < upstream.idle.mul_f64(0.95);
    // Who leaves closes what idles; one close alone may be that.
    let left = upstream.samples == 1 && {
        let closer = memory.clocks.closer(&pair.1);
        closer.is_some_and(|pid| memory.processes.ending(pid, seen).is_some())
    };
    if left || timers.gateway.is_some_and(shorter) || !reaches(&timers) {
        return None;
    }
    let who = memory.processes.who(task, now);
    let address = pair.1.1;
    let served = memory.listeners.covering(pair.1.0, address);
    let served = served.map(|open| memory.processes.who(&open.listener.task, now));
    let named = served
        .as_ref()
        .map_or_else(String::new, |who| format!("{} at ", label(who)));
    let sentence = format!(
        "{named}{address} closes connections that idled for {}; {} {}: a request will meet the close",
        span(upstream.idle),
        who.comm,
        keeps(&timers),
    );
    Some(Warning {
        schema: WARNING.to_owned(),
        time: memory.clock.date(now),
        of: Cause::KeepaliveRace,
        confidence: if upstream.samples > 1 {
            Confidence::Proven
        } else {
            Confidence::Inferred
        },
        sentence,
        remedy: remedy(&timers).unwrap_or_default(),
        gateway: Dialler {
            who,
            tid: task.tid,
            listens: listens(task, memory),
        },
        upstream: crate::verdict::Upstream {
            addr: address.to_string(),
            real: None,
            who: served,
        },
        timers: idle(&timers),
    })
}

/// The two timers that collided, this failure's own measure included.
#[must_use]
pub fn measured(evidence: &Evidence, memory: &Memory) -> Option<Timers> {
    let attempt = evidence.deciding()?;
    let flow = &attempt.flow;
    let family = family(flow.netns, &evidence.answer.task, &memory.listeners);
    let place = (flow.netns, flow.remote);
    let known = family.map(|family| memory.clocks.of(&(family, place)));
    let mut timers = known.unwrap_or_default();
    let end = evidence.other_end.as_ref();
    let here = end.and_then(|end| Some(end.at.since(end.flow.said_at?)));
    let idle = here.or_else(|| Some(flow.fin_at?.since(flow.heard_before_at?)));
    timers.upstream = timers
        .upstream
        .or(idle.map(|idle| Measured { idle, samples: 0 }));
    timers.at_least = timers.at_least.max(used_after(flow));
    timers.gateway = longer(&timers);
    Some(timers)
}

/// The request went out on a connection that had idled so long.
fn used_after(flow: &Flow) -> Option<Duration> {
    Some(flow.said_at?.since(flow.heard_before_at?))
}

/// Adds the gateway's timer to what a verdict says.
pub fn collide(verdict: &mut Verdict, timers: &Timers) {
    let keeps = keeps(timers);
    verdict.sentence = format!("{}; {} {keeps}", verdict.sentence, verdict.gateway.who.comm);
    if let Some(remedy) = remedy(timers) {
        verdict.remedy = remedy;
    }
}

/// The gateway uses connections that have idled for as long as the upstream keeps them.
fn reaches(timers: &Timers) -> bool {
    let upstream = timers.upstream.map_or(Duration::MAX, |it| it.idle);
    longer(timers).is_some() || timers.at_least >= Some(upstream.mul_f64(0.95))
}

/// `keeps idle ones for 60.0 s`.
#[must_use]
pub fn keeps(timers: &Timers) -> String {
    match (longer(timers), timers.at_least) {
        (Some(own), _) => format!("keeps idle ones for {}", span(own.idle)),
        (None, Some(held)) => format!("keeps idle ones at least that long ({})", span(held)),
        (None, None) => "keeps idle ones longer".to_owned(),
    }
}

/// The gateway's own timer, where it is the longer one: at another upstream it may be shorter.
fn longer(timers: &Timers) -> Option<Measured> {
    let upstream = timers.upstream.map_or(Duration::ZERO, |it| it.idle);
    timers.gateway.filter(|own| own.idle >= upstream)
}

/// What to do, with both numbers.
#[must_use]
pub fn remedy(timers: &Timers) -> Option<String> {
    let upstream = span(timers.upstream?.idle);
    let above = longer(timers).map_or_else(
        || "the gateway's".to_owned(),
        |own| format!("the gateway's {}", span(own.idle)),
    );
    Some(format!(
        "raise the upstream's keep-alive timeout ({upstream}) above {above}, or lower the gateway's \
         below {upstream}"
    ))
}

/// The numbers for the JSON form.
#[must_use]
pub fn idle(timers: &Timers) -> Idle {
    let ms = |idle: Duration| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
    Idle {
        upstream_ms: timers.upstream.map(|it| ms(it.idle)),
        upstream_samples: timers.upstream.map_or(0, |it| it.samples),
        gateway_ms: longer(timers).map(|it| ms(it.idle)),
        gateway_samples: longer(timers).map_or(0, |it| it.samples),
        gateway_at_least_ms: timers.at_least.map(ms),
    }
}
