//! The families against what is promised of them: their page, and how many series there can be.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use probe502_core::cause::Cause;
use probe502_core::verdict::Who;
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

/// As many of each as there can be: every cause, and 10,000 gateways and upstreams.
fn worst() -> Metrics {
    let mut metrics = Metrics::new(200).expect("registered");
    for number in 0..10_000 {
        let cause = Cause::ALL[number % Cause::ALL.len()];
        metrics.verdict(&verdict(cause, number, Kind::Answer), 0.1);
        metrics.verdict(&verdict(cause, number, Kind::Silent), 0.1);
        let timers = Idle {
            upstream_ms: Some(5000),
            ..Idle::default()
        };
        metrics.idle_close(&upstream(number), &timers);
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
