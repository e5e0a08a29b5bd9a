//! Near misses: attempts that failed and that no failed answer took.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::answer::Request;
use crate::attempts::{Attempt, Attempts, is_http};
use crate::diagnose::diagnose;
use crate::event::{Flow, Task};
use crate::evidence::Evidence;
use crate::habits::Manner;
use crate::http;
use crate::joining::{Answer, Joined};
use crate::memory::Memory;
use crate::notice::{Dialler, NEAR_MISS, NearMiss, Outcome, Rescue};
use crate::own_page::Want;
use crate::shapes::Shape;
use crate::telling::tell;
use crate::units::{Cookie, Head, Pid, Timestamp};
use crate::verdict::{Join, Kind, Symptom};

/// How long a failed answer may take to follow a failed attempt before none is expected.
const PATIENCE: Duration = Duration::from_secs(10);
/// A rescued attempt waits only for what may explain it: its upstream's late exit.
const RESCUED: Duration = Duration::from_secs(1);
/// Attempts that wait at once; beyond, the oldest is forgotten.
const WAITING: usize = 4096;
/// Programs that dial upstreams for clients; others show it by an HTTP request.
const GATEWAYS: [&str; 9] = [
    "nginx", "haproxy", "envoy", "caddy", "traefik", "apache2", "httpd", "varnishd", "squid",
];

/// An attempt that may become a near miss.
#[derive(Debug)]
struct Pending {
    pid: Pid,
    cookie: Cookie,
    before: Cookie,
    /// Few are rescued, and a connection is large.
    rescue: Option<Box<(Timestamp, Flow)>>,
}

/// Attempts in wait of an answer, and the tries that rescued them.
#[derive(Debug, Default)]
pub struct Nears {
    /// By when each is due, then by its number.
    waiting: BTreeMap<(Timestamp, u64), Pending>,
    /// Where an attempt waits, by its socket: the last one on it.
    places: BTreeMap<Cookie, (Timestamp, u64)>,
}

impl Nears {
    /// An attempt failed.
    pub fn expect(&mut self, attempt: &Attempt) {
        let key = (attempt.at.plus(PATIENCE), attempt.number);
        let pending = Pending {
            pid: attempt.pid,
            cookie: attempt.flow.cookie,
            before: attempt.flow.before,
            rescue: None,
        };
        self.places.insert(pending.cookie, key);
        self.waiting.insert(key, pending);
        if self.waiting.len() > WAITING
            && let Some((key, oldest)) = self.waiting.pop_first()
        {
            self.forget(key, &oldest);
        }
    }

    /// A retry was answered: what its thread had tried just before is rescued, and what before that.
    pub fn rescue(&mut self, at: Timestamp, by: &Flow) {
        let mut failed = by.before;
        // A chain of tries is as long as a gateway's list of servers; a ring of cookies has no end.
        for _ in 0..64 {
            let Some(key) = self.places.get(&failed).copied() else {
                return;
            };
            let Some(mut pending) = self.waiting.remove(&key) else {
                return;
            };
            failed = pending.before;
            pending.rescue = Some(Box::new((at, by.clone())));
            let key = (at.plus(RESCUED), key.1);
            self.places.insert(pending.cookie, key);
            self.waiting.insert(key, pending);
        }
    }

    /// When the next is due.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    /// The near misses that are due; whether anything was decided.
    pub fn pass(
        &mut self,
        now: Timestamp,
        attempts: &mut Attempts,
        memory: &Memory,
    ) -> (Vec<NearMiss>, bool) {
        let (mut told, mut decided) = (Vec::new(), false);
        while let Some(entry) = self.waiting.first_entry() {
            let key = *entry.key();
            if key.0 > now {
                break;
            }
            let pending = entry.remove();
            self.forget(key, &pending);
            decided = true;
            let Some(attempt) = attempts.unspent(pending.pid, key.1) else {
                continue;
            };
            let rescue = pending.rescue.as_deref().filter(|(_, by)| {
                may_rescue(&attempt.flow, by) && !attempts.has_failed(by.cookie, by.said)
            });
            let last = attempt.at.plus(PATIENCE);
            if rescue.is_some() {
                let spent = attempts.spend(pending.pid, key.1);
                told.extend(spent.and_then(|attempt| near_miss(attempt, rescue.cloned(), memory)));
            } else if last > key.0 {
                // The try that seemed to rescue it failed as well.
                let pending = Pending {
                    rescue: None,
                    ..pending
                };
                self.places.insert(pending.cookie, (last, key.1));
                self.waiting.insert((last, key.1), pending);
            } else if is_failure(attempt) && is_gateway(attempt, memory) {
                told.extend(near_miss(attempt.clone(), None, memory));
            }
        }
        (told, decided)
    }

    fn forget(&mut self, key: (Timestamp, u64), pending: &Pending) {
        if self.places.get(&pending.cookie) == Some(&key) {
            self.places.remove(&pending.cookie);
        }
    }
}

/// Whether both may have been one request's: not where both were seen and differ.
fn may_rescue(failed: &Flow, by: &Flow) -> bool {
    let lines = http::request_line(&failed.said_head).zip(http::request_line(&by.said_head));
    lines.is_none_or(|(one, other)| one.method == other.method && one.target == other.target)
}

/// Whether the upstream surely failed: a gateway that gives up may do so because its client left.
fn is_failure(attempt: &Attempt) -> bool {
    let surely = match attempt.symptom() {
        Symptom::Refused
        | Symptom::Unreachable
        | Symptom::ConnectError
        | Symptom::Eof
        | Symptom::Reset => true,
        Symptom::ConnectTimeout => attempt.flow.error.0 != 0,
        Symptom::TlsFailure => attempt.flow.fin_heard || attempt.flow.reset_heard,
        Symptom::NoAnswer
        | Symptom::BadAnswer
        | Symptom::NoAttempt
        | Symptom::Relayed
        | Symptom::Truncated => false,
    };
    surely && !attempt.is_weak() && !attempt.flow.late
}

/// Whether the process serves clients and asked for one of them.
fn is_gateway(attempt: &Attempt, memory: &Memory) -> bool {
    let flow = &attempt.flow;
    let Some(task) = flow.task.as_ref().or(flow.owner.as_ref()) else {
        return false;
    };
    let asked = is_http(flow) && http::request_line(&flow.said_head).is_some();
    let known = is_known(task);
    (asked || known) && memory.listeners.of(task).next().is_some()
}

/// Whether it has a gateway's name.
pub fn is_known(task: &Task) -> bool {
    GATEWAYS.contains(&task.comm.as_str())
}

fn near_miss(
    attempt: Attempt,
    rescue: Option<(Timestamp, Flow)>,
    memory: &Memory,
) -> Option<NearMiss> {
    let task = attempt.flow.task.clone().or(attempt.flow.owner.clone())?;
    let listens = listens(&task, memory);
    let failed = attempt.at;
    let joined = Joined {
        by: Join::TaskOrder,
        attempts: vec![attempt.clone()],
        ..Joined::nothing()
    };
    let evidence = Evidence::gather(as_answer(&attempt, task), joined, memory);
    let verdict = tell(&evidence, diagnose(&evidence), memory);
    Some(NearMiss {
        schema: NEAR_MISS.to_owned(),
        id: verdict.id,
        time: verdict.time,
        outcome: rescue
            .as_ref()
            .map_or(Outcome::Unseen, |_| Outcome::Rescued),
        symptom: verdict.symptom,
        cause: verdict.cause,
        confidence: verdict.confidence,
        sentence: verdict.sentence,
        remedy: verdict.remedy,
        gateway: Dialler {
            who: verdict.gateway.who,
            tid: verdict.gateway.tid,
            listens,
        },
        request: verdict.request,
        upstream: verdict.upstream?,
        attempt: verdict.attempts.into_iter().next()?,
        rescue: rescue.map(|(at, by)| Rescue {
            addr: by.target().to_string(),
            status: by.status.unwrap_or_default(),
            after_ms: at.millis_from(failed),
        }),
        evidence: verdict.evidence,
        lost: verdict.lost,
    })
}

/// The addresses that a gateway listens on.
#[must_use]
pub fn listens(task: &Task, memory: &Memory) -> Vec<String> {
    let mut all: Vec<String> = memory
        .listeners
        .of(task)
        .map(|open| open.listener.local.to_string())
        .collect();
    all.sort();
    all.dedup();
    all
}

/// The attempt in an answer's place, so that it is judged as a failed answer's would be.
#[must_use]
pub fn as_answer(attempt: &Attempt, task: Task) -> Answer {
    let mut flow = attempt.flow.clone();
    flow.heard_head = std::mem::take(&mut flow.said_head);
    flow.heard_at = None;
    Answer {
        at: attempt.at,
        task,
        kind: Kind::Answer,
        status: attempt.relayed.unwrap_or_default(),
        cut: None,
        asked: attempt.asked,
        request: Request::of(&flow, attempt.at),
        flow,
        shape: Shape::of(0, &Head::default()),
        before: None,
        is_followed: false,
        elsewhere: Vec::new(),
        manner: Manner::default(),
        ordered: true,
        wants_server: Want::No,
        word: None,
    }
}
