//! What was said of a storm's answers, counted.

use std::collections::HashMap;
use std::time::Duration;

use super::client::Sent;
use crate::agent::{Report, Seen};
use crate::gateways::Kind;

/// What a verdict says that may miss what it needs.
const EVIDENCE_LOST: &str = "unknown.evidence-lost";

/// A storm behind one gateway, counted.
#[derive(Clone, Debug)]
pub struct Sum {
    /// The gateway.
    pub kind: Kind,
    /// Requests.
    pub requests: usize,
    /// Failed answers that the clients counted.
    pub failed: usize,
    /// Closed without an answer.
    pub silent: usize,
    /// One verdict, and right.
    pub right: usize,
    /// Those of them that are inferred.
    pub inferred: usize,
    /// One verdict that claims nothing.
    pub unknown: usize,
    /// Those of them that say why: evidence was lost.
    pub evidence_lost: usize,
    /// One verdict, and wrong.
    pub wrong: usize,
    /// No verdict.
    pub missed: usize,
    /// Verdicts too many.
    pub spurious: usize,
    /// Records that the agent says it lost, and failed answers among them, on the whole host.
    pub lost: (u64, u64),
    /// Half of the verdicts came within this time, and 99 % within that.
    pub latency: (Duration, Duration),
    /// Those that were not right, one line each.
    pub examples: Vec<String>,
}

impl Sum {
    /// Nothing wrong, missed or too much, and at most one unknown in a hundred.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_honest() && self.unknown * 100 <= self.failed
    }

    /// Nothing wrong, missed or too much.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.wrong + self.missed + self.spurious == 0
    }

    /// As a line.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "{:<15} {} requests, {} failed, {} silent: {} right, {} unknown ({} for lost evidence), {} wrong, {} missed, {} spurious; {} records lost; verdict after {} ms (half), {} ms (99 %)",
            self.kind.name(),
            self.requests,
            self.failed,
            self.silent,
            self.right,
            self.unknown,
            self.evidence_lost,
            self.wrong,
            self.missed,
            self.spurious,
            self.lost.0,
            self.latency.0.as_millis(),
            self.latency.1.as_millis()
        )
    }
}

/// Each client's address is unique, and each verdict names it.
#[must_use]
pub fn judge(kind: Kind, sent: &[Sent], report: &Report) -> Sum {
    let mut told: HashMap<(String, String), Vec<&Seen>> = HashMap::new();
    for seen in &report.verdicts {
        let ends = ["/client", "/gateway/listen"].map(|end| seen.field(end).to_owned());
        told.entry(ends.into()).or_default().push(seen);
    }
    let mut sum = Sum {
        kind,
        requests: sent.len(),
        failed: 0,
        silent: 0,
        right: 0,
        inferred: 0,
        unknown: 0,
        evidence_lost: 0,
        wrong: 0,
        missed: 0,
        spurious: 0,
        lost: lost(report),
        latency: (Duration::ZERO, Duration::ZERO),
        examples: Vec::new(),
    };
    let mut latencies = Vec::new();
    for sent in sent {
        let client = sent.client.map(|addr| addr.to_string()).unwrap_or_default();
        let ends = (client, sent.door.to_string());
        let own = told.remove(&ends).unwrap_or_default();
        let counted = count(&mut sum, sent, &own);
        if let Some(word) = counted {
            sum.examples.push(example(word, sent, &own));
        }
        let seen = own.first().filter(|_| sent.status >= Some(500));
        latencies.extend(seen.map(|seen| seen.at.saturating_duration_since(sent.at)));
    }
    sum.spurious += told.values().map(Vec::len).sum::<usize>();
    let strangers = told.values().flatten();
    sum.examples
        .extend(strangers.map(|seen| format!("no request: {}", seen.line)));
    latencies.sort_unstable();
    let at = |share: usize| latencies.get(latencies.len() * share / 100).copied();
    sum.latency = (at(50).unwrap_or_default(), at(99).unwrap_or_default());
    sum
}

fn lost(report: &Report) -> (u64, u64) {
    let stats = report.stats().unwrap_or_default();
    let count = |name: &str| stats[name].as_u64().unwrap_or_default();
    (count("lost"), count("lost_answers"))
}

/// The word for what was not right.
fn count(sum: &mut Sum, sent: &Sent, own: &[&Seen]) -> Option<&'static str> {
    let failed = sent.status >= Some(500);
    sum.failed += usize::from(failed);
    sum.silent += usize::from(sent.status.is_none());
    sum.spurious += own.len().saturating_sub(usize::from(failed));
    let Some(seen) = own.first().filter(|_| failed) else {
        sum.missed += usize::from(failed);
        return match (failed, own.is_empty()) {
            (true, _) => Some("missed"),
            (false, false) => Some("spurious"),
            (false, true) => None,
        };
    };
    if seen.field("/confidence") == "unknown" {
        sum.unknown += 1;
        sum.evidence_lost += usize::from(seen.field("/cause") == EVIDENCE_LOST);
        Some("unknown")
    } else if sent
        .fault
        .is_some_and(|fault| fault.cause == seen.field("/cause"))
    {
        sum.right += 1;
        sum.inferred += usize::from(seen.field("/confidence") == "inferred");
        None
    } else {
        sum.wrong += 1;
        Some("wrong")
    }
}

fn example(word: &str, sent: &Sent, own: &[&Seen]) -> String {
    let said = own.first().map_or("", |seen| seen.line.as_str());
    let name = sent.fault.map_or("good", |fault| fault.name);
    format!("{word}: {name} {:?} {}: {said}", sent.status, sent.path)
}
