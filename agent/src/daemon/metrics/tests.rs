//! The families against what is promised of them: their page, and how many series there can be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use probe502_core::cause::Cause;
use probe502_core::notice::Dialler;
use probe502_core::verdict::{Upstream, Who};
use prometheus::proto::{MetricFamily, MetricType};

use super::families::SETS;
use super::*;
use crate::output::example;

const PAGE: &str = include_str!("../../../../docs/metrics.md");
/// What docs/metrics.md promises for the default settings.
const PROMISED: usize = 10_000;

fn verdict(cause: Cause, number: usize, kind: Kind) -> Verdict {
    let mut verdict = example::verdict();
    verdict.cause = cause;
    verdict.kind = kind;
    verdict.gateway.who = Who {
        comm: format!("gateway-{number}\n\"{{"),
        ..Who::default()
    };
    verdict.upstream = Some(upstream(number));
    verdict
}

fn upstream(number: usize) -> Upstream {
    Upstream {
        addr: format!("10.0.{}.{}:80", number / 250, number % 250),
        real: None,
        who: None,
    }
}

fn pool(gateway: usize, number: usize) -> Pool {
    Pool {
        gateway: Dialler {
            who: verdict(Cause::KeepaliveRace, gateway, Kind::Answer)
                .gateway
                .who,
            tid: 1,
            listens: Vec::new(),
        },
        upstream: upstream(number),
        closes_after: Some(Duration::from_secs(5)),
        keeps: Some(Duration::from_millis(60_500)),
    }
}

/// As many of each as there can be: every cause, and 10,000 gateways and upstreams.
fn worst() -> Metrics {
    let mut metrics = Metrics::new(200).expect("registered");
    for number in 0..10_000 {
        let cause = Cause::ALL[number % Cause::ALL.len()];
        metrics.verdict(&verdict(cause, number, Kind::Answer), 0.1);
        metrics.verdict(&verdict(cause, number, Kind::Silent), 0.1);
        metrics.pool(&pool(number % 20, number));
        let mut near = example::near_miss();
        (near.cause, near.upstream) = (cause, upstream(number));
        near.gateway.who.comm = format!("gateway-{number}");
        metrics.near_miss(&near);
    }
    for number in 0..64 {
        let name = number.to_string();
        metrics.hook(&name, true);
        metrics.events(&name, 1);
    }
    metrics.deaths("exit", 1);
    metrics.lost("ring", 1);
    metrics.tracked("attempts", (1, 2));
    metrics.history("written", 1);
    metrics.kubernetes(true);
    metrics
}

fn sum(of: &MetricFamily) -> f64 {
    of.get_metric()
        .iter()
        .map(|metric| metric.get_counter().get_value())
        .sum()
}

#[test]
fn there_are_never_more_series_than_promised_and_none_is_lost_in_them() {
    let metrics = worst();
    let text = render(&metrics.registry).expect("rendered");
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series <= PROMISED, "{series} series");
    assert!(PAGE.contains("10,000 series"), "the page promises another");
    for family in metrics.registry.gather() {
        if family.name() == "probe502_answers_total" {
            assert!((sum(&family) - 10_000.0).abs() < 0.5, "{}", sum(&family));
            assert!(family.get_metric().len() <= SETS + Cause::ALL.len());
        }
    }
    assert!(metrics.told.refused.get() >= 10_000);
}

#[test]
fn a_failure_without_a_status_is_no_answer() {
    let mut metrics = Metrics::new(2).expect("registered");
    metrics.verdict(&verdict(Cause::AppStalled, 1, Kind::Silent), 0.1);
    let text = render(&metrics.registry).expect("rendered");
    let silent = "probe502_silent_failures_total{cause=\"app.stalled\",";
    assert!(text.contains(silent), "{text}");
    assert!(!text.contains("probe502_answers_total{"), "{text}");
}

#[test]
fn two_timers_stand_side_by_side_and_what_is_not_known_is_not_shown() {
    let mut metrics = Metrics::new(2).expect("registered");
    let shown = |metrics: &Metrics| render(&metrics.registry).expect("rendered");
    metrics.pool(&Pool {
        closes_after: None,
        keeps: None,
        ..pool(0, 0)
    });
    assert!(!shown(&metrics).contains("_idle_"));
    for (number, closes) in [(0, Some(Duration::from_secs(75))), (1, None), (2, None)] {
        metrics.pool(&Pool {
            closes_after: closes,
            ..pool(0, number)
        });
    }
    let text = shown(&metrics);
    let of = |family: &str| text.lines().filter(|line| line.starts_with(family)).count();
    let first = "probe502_upstream_idle_close_seconds{upstream=\"10.0.0.0:80\"} 75\n";
    assert!(text.contains(first), "{text}");
    assert!(text.contains("upstream=\"10.0.0.1:80\"} 60.5\n"), "{text}");
    // The third has no name of its own.
    assert_eq!(of("probe502_upstream_idle_close_seconds{"), 1);
    assert_eq!(of("probe502_gateway_idle_reuse_seconds{"), 2);
}

#[test]
fn every_family_is_on_the_page_and_nothing_else() {
    let families = worst().registry.gather();
    let mut rows = String::new();
    for family in &families {
        let mut labels = BTreeMap::new();
        for pair in family.get_metric().iter().flat_map(|one| one.get_label()) {
            labels.insert(format!("`{}`", pair.name()), ());
        }
        let labels: Vec<String> = labels.into_keys().collect();
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::HISTOGRAM => "histogram",
            MetricType::GAUGE => "gauge",
            MetricType::SUMMARY | MetricType::UNTYPED => "other",
        };
        let (name, labels, help) = (family.name(), labels.join(", "), family.help());
        writeln!(rows, "| `{name}` | {kind} | {labels} | {help} |").expect("a string");
    }
    let told: String = PAGE
        .lines()
        .filter(|line| line.starts_with("| `probe502_") || line.starts_with("| `process_"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(told, rows, "docs/metrics.md is to say:\n{rows}");
}
