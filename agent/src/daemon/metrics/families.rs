//! Every family: its name, its help and its labels.

use std::collections::BTreeSet;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts,
    Registry, Result,
};

use super::super::labels::OTHER;

/// From the answer to its verdict: the budget is 0.1 s, the longest grace 1 s.
const LATENCIES: &[f64] = &[0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// What requests wait for: from a connection refused at once to the timeouts of gateways.
const WAITS: &[f64] = &[0.001, 0.01, 0.1, 1.0, 5.0, 15.0, 30.0, 60.0, 300.0];
/// Sets of labels that one family of answers may have: past it the gateway and the upstream are
/// `_other`, so that what is left is status and cause.
pub const SETS: usize = 2000;

/// A family whose sets of labels are counted.
pub struct Family {
    counter: IntCounterVec,
    sets: BTreeSet<Vec<String>>,
}

impl Family {
    /// The last two labels are the gateway and the upstream. Returns how many names were one too many.
    pub fn count(&mut self, mut set: Vec<String>) -> u64 {
        let mut refused = 0;
        if !self.sets.contains(&set) {
            if self.sets.len() >= SETS {
                let at = set.len().saturating_sub(2);
                set.truncate(at);
                set.extend([OTHER.to_owned(), OTHER.to_owned()]);
                refused = 1;
            } else {
                self.sets.insert(set.clone());
            }
        }
        self.counter.with_label_values(&set).inc();
        refused
    }
}

/// Seconds of a gateway and an upstream, of so many pairs as a family may have sets.
pub struct Pairs {
    gauge: GaugeVec,
    known: BTreeSet<[String; 2]>,
}

impl Pairs {
    /// Returns how many names were one too many.
    pub fn set(&mut self, pair: [String; 2], seconds: f64) -> u64 {
        if !self.known.contains(&pair) {
            if self.known.len() >= SETS {
                return 1;
            }
            self.known.insert(pair.clone());
        }
        self.gauge.with_label_values(&pair).set(seconds);
        0
    }
}

/// What verdicts and notices fill.
pub struct Told {
    pub answers: Family,
    pub near_misses: Family,
    pub silent: Family,
    pub unknown: IntCounterVec,
    pub latency: Histogram,
    pub outstanding: HistogramVec,
    pub idle_close: GaugeVec,
    pub idle_reuse: Pairs,
    pub refused: IntCounter,
}

/// What tells how the agent itself is.
pub struct Own {
    pub deaths: IntCounterVec,
    pub hooks: IntGaugeVec,
    /// It has its value from the first word on.
    pub kubernetes: IntGaugeVec,
    pub events: IntCounterVec,
    pub lost: IntCounterVec,
    pub tracked: IntGaugeVec,
    pub tracked_bound: IntGaugeVec,
    pub history: IntCounterVec,
}

impl Told {
    /// Empty.
    pub fn new(registry: &Registry) -> Result<Self> {
        let family = |name: &str, help: &str, labels: &[&str]| -> Result<Family> {
            Ok(Family {
                counter: counters(registry, name, help, labels)?,
                sets: BTreeSet::new(),
            })
        };
        Ok(Self {
            answers: family(
                "probe502_answers_total",
                "Failed answers that gateways gave, by status, cause, gateway and upstream",
                &["status", "cause", "gateway", "upstream"],
            )?,
            near_misses: family(
                "probe502_near_misses_total",
                "Upstream failures that a retry hid from the client, by cause, gateway and upstream",
                &["cause", "gateway", "upstream"],
            )?,
            silent: family(
                "probe502_silent_failures_total",
                "Failures without a status (closed empty or cut short), by cause, gateway and upstream",
                &["cause", "gateway", "upstream"],
            )?,
            unknown: counters(
                registry,
                "probe502_unknown_total",
                "Failed answers whose cause is not known, by the reason why",
                &["reason"],
            )?,
            latency: latency(registry)?,
            outstanding: outstanding(registry)?,
            idle_close: seconds(
                registry,
                "probe502_upstream_idle_close_seconds",
                "After how long an upstream closes an idle connection, as measured",
                &["upstream"],
            )?,
            idle_reuse: Pairs {
                gauge: seconds(
                    registry,
                    "probe502_gateway_idle_reuse_seconds",
                    "For how long at least a gateway keeps an idle connection to an upstream for another request, as measured",
                    &["gateway", "upstream"],
                )?,
                known: BTreeSet::new(),
            },
            refused: refused(registry)?,
        })
    }
}

fn latency(registry: &Registry) -> Result<Histogram> {
    let name = "probe502_verdict_latency_seconds";
    let help = "From an answer's leaving to its verdict";
    let options = HistogramOpts::new(name, help).buckets(LATENCIES.to_vec());
    put(registry, Histogram::with_opts(options)?)
}

fn outstanding(registry: &Registry) -> Result<HistogramVec> {
    let name = "probe502_request_outstanding_seconds";
    let help = "How long requests waited for the failed answer, by cause";
    let options = HistogramOpts::new(name, help).buckets(WAITS.to_vec());
    put(registry, HistogramVec::new(options, &["cause"])?)
}

fn seconds(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec> {
    put(registry, GaugeVec::new(Opts::new(name, help), labels)?)
}

fn refused(registry: &Registry) -> Result<IntCounter> {
    let name = "probe502_label_overflows_total";
    let help = "Verdicts counted under `_other` because every name was taken";
    put(registry, IntCounter::with_opts(Opts::new(name, help))?)
}

impl Own {
    /// Empty.
    pub fn new(registry: &Registry) -> Result<Self> {
        let counters =
            |name: &str, help: &str, label: &str| counters(registry, name, help, &[label]);
        let gauges = |name: &str, help: &str, label: &str| gauges(registry, name, help, label);
        gauges(
            "probe502_build_info",
            "Which probe502 this is; always 1",
            "version",
        )?
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self {
            deaths: counters(
                "probe502_process_deaths_total",
                "Ends of processes that the kernel's side told of, by how",
                "how",
            )?,
            hooks: gauges(
                "probe502_hook_attached",
                "1 where this hook is attached, or waits until it is needed",
                "hook",
            )?,
            kubernetes: put(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "probe502_kubernetes_up",
                        "1 while the API server names this node's pods, 0 while it is tried again",
                    ),
                    &[],
                )?,
            )?,
            events: counters(
                "probe502_events_total",
                "Records that the kernel's side sent, by kind",
                "kind",
            )?,
            lost: counters(
                "probe502_events_lost_total",
                "Records that were lost, by where: verdicts nearby say `unknown.evidence-lost`",
                "stage",
            )?,
            tracked: gauges(
                "probe502_tracked",
                "What is remembered now, by what",
                "what",
            )?,
            tracked_bound: gauges(
                "probe502_tracked_bound",
                "What is remembered at most, by what",
                "what",
            )?,
            history: counters(
                "probe502_history_verdicts_total",
                "Verdicts for the history, by what became of them",
                "outcome",
            )?,
        })
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
    put(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauges(registry: &Registry, name: &str, help: &str, label: &str) -> Result<IntGaugeVec> {
    put(registry, IntGaugeVec::new(Opts::new(name, help), &[label])?)
}

fn put<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
