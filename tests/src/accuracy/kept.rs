//! What a play of the matrix leaves behind: a line of JSON for each cell, behind one of the whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::judge::{Judged, Mark};
use crate::gateways::Kind;

/// One play.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// Where its ports, delays and sizes came from.
    pub seed: u64,
    /// What was measured.
    pub commit: String,
    /// The kernel that it ran on.
    pub kernel: String,
    /// How many tasks wanted a processor, on average over the last five minutes of it (`/proc/loadavg`).
    pub load: String,
    /// The gateways.
    pub versions: BTreeMap<Kind, String>,
    /// How long it took.
    pub took: Duration,
    /// Its cells.
    pub cells: Vec<Judged>,
}

impl Played {
    /// Of this seed, here and now, with no cell yet.
    #[must_use]
    pub fn here(seed: u64, versions: &BTreeMap<Kind, String>) -> Self {
        Self {
            seed,
            commit: said("git", &["describe", "--always", "--dirty"]),
            kernel: said("uname", &["-sr"]),
            load: String::new(),
            versions: versions.clone(),
            took: Duration::ZERO,
            cells: Vec::new(),
        }
    }

    /// It is over.
    pub fn end(&mut self, took: Duration, cells: Vec<Judged>) {
        let averages = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        averages
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .clone_into(&mut self.load);
        (self.took, self.cells) = (took, cells);
    }

    /// The line of the whole.
    #[must_use]
    pub fn head(&self) -> String {
        let versions = self.versions.iter();
        let versions: BTreeMap<&str, &String> =
            versions.map(|(kind, words)| (kind.name(), words)).collect();
        let (seed, seconds) = (self.seed, self.took.as_secs());
        json!({
            "seed": seed, "commit": self.commit, "kernel": self.kernel, "load": self.load,
            "seconds": seconds, "versions": versions,
        })
        .to_string()
    }

    /// All lines.
    #[must_use]
    pub fn text(&self) -> String {
        let cells = self.cells.iter().map(line);
        let lines: Vec<String> = std::iter::once(self.head()).chain(cells).collect();
        lines.join("\n") + "\n"
    }

    /// What such a file holds.
    ///
    /// # Errors
    /// When it is no such file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("no play in {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("{} holds no play", file.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let head: Value = serde_json::from_str(lines.next()?).ok()?;
        let versions = head["versions"].as_object()?.iter();
        let version = |(name, words): (&String, &Value)| {
            Some((Kind::named(name)?, words.as_str()?.to_owned()))
        };
        Some(Self {
            seed: head["seed"].as_u64()?,
            commit: head["commit"].as_str()?.to_owned(),
            kernel: head["kernel"].as_str()?.to_owned(),
            load: head["load"].as_str().unwrap_or_default().to_owned(),
            versions: versions.filter_map(version).collect(),
            took: Duration::from_secs(head["seconds"].as_u64()?),
            cells: lines.filter_map(cell).collect(),
        })
    }
}

/// One cell.
#[must_use]
pub fn line(cell: &Judged) -> String {
    let latency = cell
        .latency
        .and_then(|latency| u64::try_from(latency.as_micros()).ok());
    json!({
        "gateway": cell.kind.name(), "fault": cell.fault, "mark": cell.mark.name(),
        "status": cell.status, "latency_us": latency, "note": cell.note, "verdict": cell.verdict,
    })
    .to_string()
}

fn cell(line: &str) -> Option<Judged> {
    let value: Value = serde_json::from_str(line).ok()?;
    let status = value["status"].as_u64();
    Some(Judged {
        kind: Kind::named(value["gateway"].as_str()?)?,
        fault: value["fault"].as_str()?.to_owned(),
        mark: Mark::named(value["mark"].as_str()?)?,
        status: status.and_then(|status| u16::try_from(status).ok()),
        latency: value["latency_us"].as_u64().map(Duration::from_micros),
        note: value["note"].as_str()?.to_owned(),
        verdict: value["verdict"].clone(),
    })
}

fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program)
        .args(words)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let cell = Judged {
            kind: Kind::Envoy,
            fault: "sleeps".to_owned(),
            mark: Mark::Right,
            status: Some(504),
            verdict: json!({"cause": "app.stalled"}),
            latency: Some(Duration::from_millis(31)),
            note: "app.stalled after no-answer".to_owned(),
        };
        let played = Played {
            seed: 7,
            commit: "abc".to_owned(),
            kernel: "Linux 6.1".to_owned(),
            load: "1.02".to_owned(),
            versions: BTreeMap::from([(Kind::Envoy, "1.40.0".to_owned())]),
            took: Duration::from_secs(60),
            cells: vec![cell],
        };
        assert_eq!(Played::parse(&played.text()), Some(played));
    }
}
