//! The dashboards and rules of the repository, and a Prometheus that scrapes agents by them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::daemon::{Daemon, raw};
use crate::nginx::free_port;
use crate::paths::Folder;
use crate::running::Running;

/// Far above what a scrape and an evaluation take, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The repository.
#[must_use]
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where the rules are.
#[must_use]
pub fn rules() -> PathBuf {
    project().join("dashboards/rules")
}

/// The dashboards by their files' names.
///
/// # Errors
/// When one is not there, or is no JSON.
pub fn dashboards() -> Result<Vec<(String, Value)>> {
    let mut all = Vec::new();
    for name in ["causes", "health", "overview"] {
        let path = project().join(format!("dashboards/grafana/{name}.json"));
        all.push((
            name.to_owned(),
            serde_json::from_str(&std::fs::read_to_string(path)?)?,
        ));
    }
    Ok(all)
}

/// The elements of an array in there.
pub fn items<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    of[key].as_array().into_iter().flatten()
}

/// Each query of a dashboard, as Grafana would send it with every variable at `All`.
#[must_use]
pub fn queries(dashboard: &Value) -> Vec<String> {
    let targets = items(dashboard, "panels").flat_map(|panel| items(panel, "targets"));
    let texts = targets.filter_map(|target| target["expr"].as_str());
    let filled = |text: &str| {
        let text = text
            .replace("$__rate_interval", "1m")
            .replace("$__range", "1h");
        ["instance", "gateway", "cause"]
            .iter()
            .fold(text, |text, name| text.replace(&format!("${name}"), ".*"))
    };
    texts.map(filled).collect()
}

/// A Prometheus of these agents, with the rules.
pub struct Prometheus {
    addr: SocketAddr,
    _running: Running,
}

impl Prometheus {
    /// Starts it; its files are in this folder.
    ///
    /// # Errors
    /// When it does not start.
    pub fn of(daemons: &[&Daemon], folder: &Folder) -> Result<Self> {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port("127.0.0.1")?));
        let config = folder.path("prometheus.yml");
        let targets: Vec<String> = daemons.iter().map(|one| one.addr.to_string()).collect();
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{:?}]\n\
             scrape_configs: [{{job_name: probe502, static_configs: [{{targets: {targets:?}}}]}}]\n",
            rules().join("probe502.yml").canonicalize()?,
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!(
            "--storage.tsdb.path={}",
            folder.path("tsdb").display()
        ));
        command.arg(format!("--web.listen-address={addr}"));
        let running = Running::start(&mut command)?;
        Ok(Self {
            addr,
            _running: running,
        })
    }

    /// What it answers, or null where it does not yet.
    #[must_use]
    pub fn ask(&self, path: &str) -> Value {
        let request = format!("GET /api/v1/{path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let answer = raw(self.addr, request.as_bytes());
        let body = answer.map(|page| page.body).unwrap_or_default();
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// What a query gives now.
    #[must_use]
    pub fn query(&self, text: &str) -> Value {
        self.ask(&format!("query?query={}", encoded(text)))
    }

    /// Waits until the answer fits.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn shows(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(path);
            if fits(&answer) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{path}: {answer}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The alerts' expressions by their names.
    ///
    /// # Errors
    /// When it has not read the rules.
    pub fn alerts(&self) -> Result<Vec<(String, String)>> {
        let has = |answer: &Value| answer["data"]["groups"].is_array();
        self.shows("rules?type=alert", has)?;
        let answer = self.ask("rules?type=alert");
        let groups = items(&answer["data"], "groups");
        let text = |rule: &Value, key: &str| rule[key].as_str().map(str::to_owned);
        groups
            .flat_map(|group| items(group, "rules"))
            .map(|rule| Some((text(rule, "name")?, text(rule, "query")?)))
            .collect::<Option<_>>()
            .context("a rule without a name or a query")
    }
}

/// Whether a query's answer has a sample.
#[must_use]
pub fn has_data(answer: &Value) -> bool {
    items(&answer["data"], "result").next().is_some()
}

/// As a query in a path.
#[must_use]
pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
