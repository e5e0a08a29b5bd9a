//! What Prometheus scrapes: how verdicts and counters fill the families.

mod families;
#[cfg(test)]
mod tests;

use probe502_core::notice::{NearMiss, Outcome, Pool};
use probe502_core::verdict::{Kind, Verdict};
use prometheus::{IntCounterVec, Registry, TextEncoder};

use super::labels::{Labels, OTHER};
use families::{Own, Told};

/// Every family.
pub struct Metrics {
    registry: Registry,
    labels: Labels,
    told: Told,
    own: Own,
}

impl Metrics {
    /// With so many names of upstreams at most.
    pub fn new(upstreams: usize) -> prometheus::Result<Self> {
        let registry = Registry::new();
        Ok(Self {
            labels: Labels::new(upstreams),
            told: Told::new(&registry)?,
            own: Own::new(&registry)?,
            registry,
        })
    }

    /// The registry, for those who render it.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Holds so many names of upstreams from now on.
    pub fn rebound(&mut self, upstreams: usize) {
        self.labels.rebound(upstreams);
    }

    /// Counts a verdict; `after` is how long after its answer it came, in seconds.
    pub fn verdict(&mut self, verdict: &Verdict, after: f64) {
        let cause = verdict.cause.id();
        let gateway = self.labels.gateway(&verdict.gateway.who);
        let upstream = self.labels.upstream(verdict.upstream.as_ref());
        let refused = match verdict.kind {
            Kind::Answer => {
                let status = verdict.status.to_string();
                self.told
                    .answers
                    .count(vec![status, cause.to_owned(), gateway, upstream])
            }
            Kind::Silent => self
                .told
                .silent
                .count(vec![cause.to_owned(), gateway, upstream]),
        };
        self.told.refused.inc_by(refused);
        if let Some(reason) = cause.strip_prefix("unknown.") {
            self.told.unknown.with_label_values(&[reason]).inc();
        }
        self.told.latency.observe(after);
        if let Some(waited) = verdict.request.outstanding_ms {
            self.told
                .outstanding
                .with_label_values(&[cause])
                .observe(waited / 1000.0);
        }
        self.note_refusals();
    }

    /// Counts an upstream failure that a retry hid.
    pub fn near_miss(&mut self, near: &NearMiss) {
        if near.outcome != Outcome::Rescued {
            return;
        }
        let gateway = self.labels.gateway(&near.gateway.who);
        let upstream = self.labels.upstream(Some(&near.upstream));
        let cause = near.cause.id().to_owned();
        let refused = self.told.near_misses.count(vec![cause, gateway, upstream]);
        self.told.refused.inc_by(refused);
        self.note_refusals();
    }

    /// The measured idle timers of an upstream and of a gateway that asks it.
    pub fn pool(&mut self, pool: &Pool) {
        if pool.closes_after.is_none() && pool.keeps.is_none() {
            return;
        }
        let gateway = self.labels.gateway(&pool.gateway.who);
        let upstream = self.labels.upstream(Some(&pool.upstream));
        self.note_refusals();
        // Of several upstreams there is no one timer.
        if upstream == OTHER || gateway == OTHER {
            return;
        }
        if let Some(closes) = pool.closes_after {
            let gauge = self.told.idle_close.with_label_values(&[&upstream]);
            gauge.set(closes.as_secs_f64());
        }
        if let Some(keeps) = pool.keeps {
            let pair = [gateway, upstream];
            let refused = self.told.idle_reuse.set(pair, keeps.as_secs_f64());
            self.told.refused.inc_by(refused);
        }
    }

    /// How processes ended so far.
    pub fn deaths(&self, how: &str, count: u64) {
        raise(&self.own.deaths, how, count);
    }

    /// A hook's state.
    pub fn hook(&self, name: &str, attached: bool) {
        self.own
            .hooks
            .with_label_values(&[name])
            .set(i64::from(attached));
    }

    /// Whether the cluster's API server names pods.
    pub fn kubernetes(&self, well: bool) {
        let up = self.own.kubernetes.with_label_values::<&str>(&[]);
        up.set(i64::from(well));
    }

    /// The kernel's own counts so far.
    pub fn events(&self, kind: &str, count: u64) {
        raise(&self.own.events, kind, count);
    }

    /// Losses so far.
    pub fn lost(&self, stage: &str, count: u64) {
        raise(&self.own.lost, stage, count);
    }

    /// How much is remembered, and how much may be.
    pub fn tracked(&self, what: &str, (now, most): (usize, usize)) {
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.own.tracked.with_label_values(&[what]).set(number(now));
        self.own
            .tracked_bound
            .with_label_values(&[what])
            .set(number(most));
    }

    /// What became of verdicts for the history so far.
    pub fn history(&self, outcome: &str, count: u64) {
        raise(&self.own.history, outcome, count);
    }

    /// Names of upstreams in use.
    pub fn names(&self) -> (usize, usize) {
        self.labels.held()
    }

    fn note_refusals(&mut self) {
        self.told.refused.inc_by(self.labels.take_refused());
    }
}

/// A counter of somebody else's is raised to where it is now.
fn raise(counter: &IntCounterVec, label: &str, now: u64) {
    let counter = counter.with_label_values(&[label]);
    counter.inc_by(now.saturating_sub(counter.get()));
}

/// The exposition text (version 0.0.4).
pub fn render(registry: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&registry.gather())
}
