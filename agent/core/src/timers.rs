//! Idle timers, measured: how long an upstream lets a connection idle, and how long a gateway does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::attempts::{is_header_complete, is_header_huge};
use crate::body;
use crate::ends::was_left;
use crate::event::{Flow, How, Role, Task};
use crate::http;
use crate::listeners::Listeners;
use crate::processes::Processes;
use crate::recent::Recent;
use crate::units::{Netns, Pid, Timestamp};

/// A connection silent for this long was idle; the kernel programs use the same measure.
const IDLE_MS: u64 = 100;
/// Closes that are remembered for one timer.
const SAMPLES: usize = 16;
/// Timers tick and hosts are busy: closes of one timer lie within a tenth, or this many milliseconds.
const SLACK_MS: u64 = 150;
/// A busy host comes late to a timer. A judgement of ours.
pub const LATE: Duration = Duration::from_millis(500);
/// Who watches its idle connections lets go of one so soon after the other end did, on a busy host too.
/// A judgement of ours.
const WATCHED: Duration = Duration::from_millis(500);
/// Upstreams and gateways that are remembered.
const KNOWN: usize = 1024;

/// A measured timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Its length.
    pub idle: Duration,
    /// How many closes agree on it.
    pub samples: usize,
}

/// A gateway: the process that owns its listener. Not by name: threads have names of their own.
pub type Family = (Netns, Pid);

/// An upstream's address as the gateway dials it.
pub type Place = (Netns, SocketAddr);

/// What is known of the two timers of a gateway and an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// The upstream's.
    pub upstream: Option<Measured>,
    /// The gateway's own, where it closed idle connections itself.
    pub gateway: Option<Measured>,
    /// What the gateway held on to at least, or still used a connection after.
    pub at_least: Option<Duration>,
}

/// Every timer that was seen at work.
#[derive(Debug)]
pub struct Clocks {
    /// By closes of the upstream's own end.
    held: Recent<Place, Vec<u64>>,
    /// Whose close was the last of these.
    closers: Recent<Place, Pid>,
    /// By the FINs that gateways heard on idle connections to other hosts.
    heard: Recent<Place, Vec<u64>>,
    /// By closes of gateways themselves.
    own: Recent<Family, Vec<u64>>,
    /// Gateways that look at an idle connection only when they want one (Apache): they close late.
    lazy: Recent<Family, ()>,
    /// The longest idle time that a gateway held or used a connection to an upstream after.
    longest: Recent<(Family, Place), u64>,
    /// Pairs whose timers were seen at work since someone asked, and by whom.
    fresh: BTreeMap<(Family, Place), Task>,
}

impl Default for Clocks {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self {
            held: Recent::new(KNOWN, day),
            closers: Recent::new(KNOWN, day),
            heard: Recent::new(KNOWN, day),
            own: Recent::new(KNOWN, day),
            lazy: Recent::new(KNOWN, day),
            longest: Recent::new(KNOWN, day),
            fresh: BTreeMap::new(),
        }
    }
}

impl Clocks {
    /// A connection ended. Says for whom an upstream's timer was just seen at work.
    pub fn end(
        &mut self,
        at: Timestamp,
        flow: &Flow,
        (listeners, processes): (&Listeners, &Processes),
    ) -> Option<(Family, Place)> {
        match flow.role {
            Role::Accepted if expired(at, flow, processes) => {
                let place = (flow.netns, flow.local);
                add(&mut self.held, at, place, flow.quiet_ms.into());
                let closer = flow.task.as_ref().map(|task| task.pid);
                self.closers.insert(at, place, closer.unwrap_or_default());
                None
            }
            Role::Dialled => {
                let task = flow.task.as_ref().or(flow.owner.as_ref())?;
                let family = family(flow.netns, task, listeners)?;
                let ip = flow.remote.ip();
                let is_here = ip.is_loopback() || listeners.shows(ip);
                let pair = (family, (flow.netns, flow.remote));
                let idled = u64::from(flow.longest_idle_ms) >= IDLE_MS;
                let is_known = self.fresh.len() < KNOWN || self.fresh.contains_key(&pair);
                if is_known && (idled || idle(at, flow).is_some()) {
                    self.fresh.insert(pair, task.clone());
                }
                self.dialled(at, flow, pair, is_here)
            }
            Role::Accepted | Role::Unknown => None,
        }
    }

    fn dialled(
        &mut self,
        at: Timestamp,
        flow: &Flow,
        pair: (Family, Place),
        is_here: bool,
    ) -> Option<(Family, Place)> {
        self.lengthen(at, &pair, flow.longest_idle_ms.into());
        let idle = u64::try_from(idle(at, flow)?.as_millis()).ok()?;
        if flow.dying {
            return None;
        }
        if flow.fin_heard {
            let is_watched = at.since(flow.fin_at.unwrap_or(at)) <= WATCHED;
            if is_watched {
                self.lengthen(at, &pair, idle);
            } else {
                // It held the connection so long, but might not have used it.
                self.lazy.insert(at, pair.0, ());
            }
            // On this host the closer itself is seen: whether it closed by a timer.
            if !is_here {
                add(&mut self.heard, at, pair.1, idle);
            }
            return Some(pair);
        }
        add(&mut self.own, at, pair.0, idle);
        None
    }

    fn lengthen(&mut self, at: Timestamp, pair: &(Family, Place), idle: u64) {
        let known = self.longest.get(pair).copied().unwrap_or_default();
        if idle >= IDLE_MS && idle > known {
            self.longest.insert(at, *pair, idle);
        }
    }

    /// What is known of a pair.
    #[must_use]
    pub fn of(&self, pair: &(Family, Place)) -> Timers {
        let held = self.held.get(&pair.1).and_then(|all| agreed(all));
        let heard = self.heard.get(&pair.1).and_then(|all| agreed(all));
        Timers {
            upstream: held.or(heard.filter(|heard| heard.samples > 1)),
            gateway: self.own.get(&pair.0).and_then(|all| {
                let is_lazy = self.lazy.get(&pair.0).is_some();
                if is_lazy { shortest(all) } else { longest(all) }
            }),
            at_least: self.longest.get(pair).copied().map(Duration::from_millis),
        }
    }

    /// A pair whose timers were seen at work since this was asked last, and a task of its gateway.
    pub fn poll_fresh(&mut self) -> Option<((Family, Place), Task)> {
        self.fresh.pop_first()
    }

    /// Whether a close after such a silence was this upstream's idle timer's, as its other closes show;
    /// `None` where none was seen.
    #[must_use]
    pub fn struck(&self, place: &Place, silence_ms: u32) -> Option<bool> {
        let timer = self.held.get(place).and_then(|all| agreed(all))?;
        let timer = u64::try_from(timer.idle.as_millis()).ok()?;
        let silence = u64::from(silence_ms);
        let late = silence.saturating_sub(timer);
        Some(near(silence, timer) || late > 0 && Duration::from_millis(late) <= LATE)
    }

    /// Who closed a connection there last for its idleness.
    #[must_use]
    pub fn closer(&self, place: &Place) -> Option<Pid> {
        self.closers.get(place).copied()
    }
}

/// The gateway that a task belongs to; `None` where it serves nobody.
#[must_use]
pub fn family(netns: Netns, task: &Task, listeners: &Listeners) -> Option<Family> {
    let owner = listeners
        .of(task)
        .map(|open| open.listener.task.pid)
        .min()?;
    let owner = if owner == task.pid {
        task.pid
    } else {
        task.parent
    };
    Some((netns, owner))
}

/// Its living holder closed it after a silence, and nothing had asked that holder to stop.
fn expired(at: Timestamp, flow: &Flow, processes: &Processes) -> bool {
    let stopping = flow.task.as_ref().is_some_and(|task| {
        let asked = |pid| processes.stop_before(pid, at).is_some();
        asked(task.pid) || asked(task.parent)
    });
    flow.how == How::Fin
        && body::said(flow).is_none()
        && flow.said > 0
        && flow.heard_bytes == 0
        && u64::from(flow.quiet_ms) >= IDLE_MS
        && !was_left(flow)
        && !flow.dying
        && !stopping
}

/// For how long a pooled connection had been idle when an idle timer, its holder's or the other
/// end's, closed it; `None` where something else did. Nothing failed on it.
#[must_use]
pub fn idle(at: Timestamp, flow: &Flow) -> Option<Duration> {
    let silent = Duration::from_millis(flow.quiet_ms.min(flow.unheard_ms).into());
    let closed = at.since(flow.fin_at.unwrap_or(at));
    let idle = silent.saturating_sub(closed);
    let is_served = flow.said > 0
        && flow.heard_bytes > 0
        && body::heard(flow).is_none()
        && http::request_line(&flow.said_head).is_some()
        && http::fault(&flow.heard_head).is_none()
        && is_header_complete(flow) != Some(false)
        // A busy gateway comes late to a header that it will not take.
        && !is_header_huge(flow);
    let is_closed = flow.role == Role::Dialled && flow.how == How::Fin && flow.error.0 == 0;
    (is_served && is_closed && idle.as_millis() >= u128::from(IDLE_MS)).then_some(idle)
}

fn add<K: Ord + Clone>(to: &mut Recent<K, Vec<u64>>, at: Timestamp, key: K, idle: u64) {
    let mut all = to.get(&key).cloned().unwrap_or_default();
    if all.len() == SAMPLES {
        all.remove(0);
    }
    all.push(idle);
    to.insert(at, key, all);
}

fn near(one: u64, other: u64) -> bool {
    one.abs_diff(other) <= (one.max(other) / 10).max(SLACK_MS)
}

/// A server's one timer: what most closes agree on. A stop closes connections of every age.
fn agreed(all: &[u64]) -> Option<Measured> {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    let middle = *sorted.get(sorted.len() / 2)?;
    let samples = sorted.iter().filter(|one| near(**one, middle)).count();
    let idle = Duration::from_millis(middle);
    let most = samples * 2 > sorted.len() && (samples > 1 || sorted.len() == 1);
    most.then_some(Measured { idle, samples })
}

/// A pool's timer: the longest idle time that two closes agree on. A full pool closes younger ones.
fn longest(all: &[u64]) -> Option<Measured> {
    let mut sorted = all.to_vec();
    sorted.sort_unstable_by(|one, other| other.cmp(one));
    let count = |one: u64| sorted.iter().filter(|other| near(one, **other)).count();
    let agreed = sorted.iter().find(|one| count(**one) > 1);
    let longest = agreed.or(sorted.first())?;
    Some(Measured {
        idle: Duration::from_millis(*longest),
        samples: count(*longest),
    })
}

/// A lazy pool's timer: it closes late, so the first that two closes agree on.
fn shortest(all: &[u64]) -> Option<Measured> {
    let count = |one: u64| all.iter().filter(|other| near(one, **other)).count();
    let agreed = all.iter().copied().filter(|one| count(*one) > 1).min()?;
    Some(Measured {
        idle: Duration::from_millis(agreed),
        samples: count(agreed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_what_most_closes_agree_on() {
        let measured = |all: &[u64]| agreed(all).map(|it| (it.idle.as_millis(), it.samples));
        assert_eq!(measured(&[5001]), Some((5001, 1)));
        assert_eq!(measured(&[5001, 5004, 1200, 5003]), Some((5003, 3)));
        assert_eq!(measured(&[300, 5000]), None);
        assert_eq!(measured(&[]), None);
    }

    #[test]
    fn a_lazy_pool_closes_late() {
        let measured = |all: &[u64]| shortest(all).map(|it| (it.idle.as_millis(), it.samples));
        assert_eq!(measured(&[9500, 2040, 2010, 4000]), Some((2010, 2)));
        assert_eq!(measured(&[9500]), None);
    }

    #[test]
    fn a_full_pool_does_not_shorten_its_timer() {
        let measured = |all: &[u64]| longest(all).map(|it| (it.idle.as_millis(), it.samples));
        assert_eq!(
            measured(&[60_010, 800, 60_002, 700, 750]),
            Some((60_010, 2))
        );
        assert_eq!(measured(&[700]), Some((700, 1)));
    }
}
