//! What a test expects of the agent: exactly one verdict for each 502 that a client got, and the right one.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::agent::{Agent, Report, Seen};
use crate::client::{Answer, SECRET};
use crate::nginx::Nginx;
use crate::skip::say;

/// The confidence that the catalogue promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sure {
    /// It names a proof on the socket or the process.
    Proven,
    /// It names a proof by elimination or by time; more is welcome.
    Inferred,
    /// No cause may be claimed.
    Unknown,
    /// A right cause, or the plain word that it is not known.
    Honest,
}

/// The one bound on time that fails a test: a machine with thirty tasks to run for each of its
/// processors meets it, a verdict that waits for something else to happen does not.
const LATEST: Duration = Duration::from_secs(10);

/// How long to wait for a verdict before it is missed.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent, and the answers that it must explain.
pub struct Watch {
    agent: Option<Agent>,
    expected: usize,
    wrong: Vec<String>,
}

impl Watch {
    /// Watches a gateway's port.
    ///
    /// # Errors
    /// When the agent does not come to watch.
    pub fn over(gateway: &Nginx) -> Result<Self> {
        Self::with(gateway, &[])
    }

    /// Watches a gateway's port with more options. With `PROBE502_ALONE` set there is no agent, and
    /// only the client's side is checked; with `PROBE502_KEEP=DIR` each test leaves a recording there.
    ///
    /// # Errors
    /// When the agent does not come to watch.
    pub fn with(gateway: &Nginx, options: &[&str]) -> Result<Self> {
        Self::on(gateway.port(), options)
    }

    /// The same for any program that listens on this port.
    ///
    /// # Errors
    /// When the agent does not come to watch.
    pub fn on(port: u16, options: &[&str]) -> Result<Self> {
        let mut words = vec!["--port".to_owned(), port.to_string()];
        words.extend(options.iter().map(|&word| word.to_owned()));
        let recorded = options.contains(&"--record");
        if let Some(dir) = std::env::var_os("PROBE502_KEEP").filter(|_| !recorded) {
            let name = std::thread::current()
                .name()
                .unwrap_or("test")
                .replace("::", "-");
            let file = std::path::Path::new(&dir).join(format!("{name}-{port}.gz"));
            words.extend(["--record".to_owned(), file.display().to_string()]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let alone = std::env::var_os("PROBE502_ALONE").is_some();
        let agent = if alone {
            None
        } else {
            Some(Agent::watch(&words)?)
        };
        Ok(Self {
            agent,
            expected: 0,
            wrong: Vec::new(),
        })
    }

    /// The client must have got an error, and its verdict must name this cause.
    pub fn expect(&mut self, answer: &Answer, cause: &str, sure: Sure) -> Option<Seen> {
        self.expect_one_of(answer, &[cause], sure)
    }

    /// The same where two ids are right: real programs race with themselves.
    pub fn expect_one_of(&mut self, answer: &Answer, causes: &[&str], sure: Sure) -> Option<Seen> {
        self.expected += 1;
        if answer.status < 500 {
            self.wrong
                .push(format!("{}: the client got {}", answer.path, answer.status));
            return None;
        }
        let agent = self.agent.as_ref()?;
        let seen = agent.verdict(PATIENCE, |seen| is_about(seen, answer));
        match &seen {
            Some(seen) => self.judge(answer, seen, causes, sure),
            None => {
                let messages = agent.messages();
                self.wrong.push(format!(
                    "{}: no verdict, expected {causes:?}; {messages}",
                    answer.path
                ));
            }
        }
        seen
    }

    fn judge(&mut self, answer: &Answer, seen: &Seen, causes: &[&str], sure: Sure) {
        let latency = seen.at.saturating_duration_since(answer.at);
        let right = causes.contains(&seen.field("/cause")) && fits(seen.field("/confidence"), sure);
        say(&row(answer, seen, latency, right));
        if !right {
            let said = serde_json::to_string_pretty(&seen.verdict).unwrap_or_default();
            self.wrong.push(format!(
                "{}: expected {causes:?}, {sure:?}, but it says\n{said}",
                answer.path
            ));
        }
        let status = seen.verdict["status"].as_u64();
        if status != Some(answer.status.into()) {
            self.wrong.push(format!(
                "{}: status {status:?}, not {}",
                answer.path, answer.status
            ));
        }
        if latency > LATEST {
            self.wrong.push(format!(
                "{}: its verdict came after {latency:?}",
                answer.path
            ));
        }
    }

    /// Waits until UNIX connections are watched, which they are from a gateway's first dial on.
    ///
    /// # Errors
    /// When they never are.
    pub fn meets_unix(&self) -> Result<()> {
        self.agent.as_ref().map_or(Ok(()), Agent::meets_unix)
    }

    /// What was wrong so far.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.wrong
    }

    /// Ends the agent: each 502 has one verdict and nothing else has.
    ///
    /// # Errors
    /// When anything was wrong.
    pub fn end(mut self) -> Result<Option<Report>> {
        let Some(agent) = self.agent.take() else {
            ensure!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
            return Ok(None);
        };
        let report = agent.finish()?;
        if report.verdicts.len() != self.expected {
            let told: Vec<&str> = report
                .verdicts
                .iter()
                .map(|seen| seen.line.as_str())
                .collect();
            let (told, count) = (told.join("\n"), report.verdicts.len());
            self.wrong.push(format!(
                "{count} verdicts for {} answers:\n{told}",
                self.expected
            ));
        }
        if report.output.contains(SECRET) {
            self.wrong.push(format!(
                "a header's value or a body got out: {}",
                report.output
            ));
        }
        if !report.status.success() {
            self.wrong.push(format!(
                "the agent ended with {}: {}",
                report.status, report.messages
            ));
        }
        ensure!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        Ok(Some(report))
    }
}

/// The paths of these tests are unique; where the request was not seen, the client's address is.
#[must_use]
pub fn is_about(seen: &Seen, answer: &Answer) -> bool {
    let path = seen.field("/request/path");
    let asked = answer.path.split('?').next();
    asked == Some(path) || (path.is_empty() && seen.field("/client") == answer.client.to_string())
}

fn fits(confidence: &str, sure: Sure) -> bool {
    match sure {
        Sure::Proven => confidence == "proven",
        Sure::Inferred => confidence == "inferred" || confidence == "proven",
        Sure::Unknown => confidence == "unknown",
        Sure::Honest => true,
    }
}

fn row(answer: &Answer, seen: &Seen, latency: Duration, right: bool) -> String {
    let mark = if right { "right" } else { "WRONG" };
    let (symptom, cause) = (seen.field("/symptom"), seen.field("/cause"));
    let (confidence, joined) = (seen.field("/confidence"), seen.field("/joined_by"));
    let aim = aim(cause);
    let late = if latency > aim {
        format!("  over {aim:?}")
    } else {
        String::new()
    };
    format!(
        "{mark} {:8.1} ms  {symptom:<12} {cause:<28} {confidence:<9} {joined:<13} {}{late}",
        latency.as_secs_f64() * 1e3,
        answer.path
    )
}

/// What the product aims at: a tenth of a second, or one where a late exit must be awaited, because the
/// process that closed may be about to leave.
fn aim(cause: &str) -> Duration {
    let awaits = cause.starts_with("app.") || cause == "process.exit";
    Duration::from_millis(if awaits { 1000 } else { 100 })
}
