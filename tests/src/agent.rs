//! The real `probe502` binary, run as its users run it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::running::Running;

/// Far above the half second that attaching may take, for a busy machine.
const ATTACHING: Duration = Duration::from_secs(60);

/// Far above the tenth of a second that letting go of the hooks may take, for the same reason.
const ENDING: Duration = Duration::from_secs(60);

/// One verdict as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The line, parsed.
    pub verdict: Value,
    /// The line.
    pub line: String,
    /// When it came.
    pub at: Instant,
}

impl Seen {
    /// A field by its JSON pointer, as text; empty where absent.
    #[must_use]
    pub fn field(&self, pointer: &str) -> &str {
        self.verdict
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// How a finished agent ended and all that it said.
pub struct Report {
    /// Its exit.
    pub status: ExitStatus,
    /// Its verdicts, in order.
    pub verdicts: Vec<Seen>,
    /// What else it told, in order.
    pub notices: Vec<Seen>,
    /// Its standard output, to the byte.
    pub output: String,
    /// Its standard error.
    pub messages: String,
}

impl Report {
    /// The counters of `--stats`.
    ///
    /// # Errors
    /// When they were not printed.
    pub fn stats(&self) -> Result<Value> {
        let line = self
            .messages
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("stats "));
        Ok(serde_json::from_str(line.with_context(|| {
            format!("no stats in: {}", self.messages)
        })?)?)
    }
}

/// One agent at a time, however many threads the test runner has: each hears the whole host, and a
/// test must not be judged by its neighbour's faults.
static ALONE: Mutex<()> = Mutex::new(());

/// A running `probe502 watch -o json`.
pub struct Agent {
    running: Running,
    _alone: MutexGuard<'static, ()>,
}

impl Agent {
    /// Starts it and waits until it watches.
    ///
    /// # Errors
    /// When it does not come to watch.
    pub fn watch(options: &[&str]) -> Result<Self> {
        Self::watch_by(Command::new(binary()?), options)
    }

    /// The same by a command whose last word is the binary.
    ///
    /// # Errors
    /// When it does not come to watch.
    pub fn watch_by(mut command: Command, options: &[&str]) -> Result<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let running = Running::start(command.args(["watch", "-o", "json"]).args(options))?;
        let watching = running
            .err
            .wait(ATTACHING, |line| line.starts_with("watching"));
        ensure!(
            watching.is_some(),
            "the agent does not watch: {}",
            running.err.text()
        );
        Ok(Self {
            running,
            _alone: alone,
        })
    }

    /// The first verdict that fits, waiting for it.
    #[must_use]
    pub fn verdict(&self, patience: Duration, fits: impl Fn(&Seen) -> bool) -> Option<Seen> {
        let line = self.running.out.wait(patience, |line| {
            seen(line, Instant::now()).is_some_and(|seen| is_verdict(&seen) && fits(&seen))
        })?;
        seen(&line.text, line.at)
    }

    /// All verdicts so far whose lines hold one of these words.
    #[must_use]
    pub fn verdicts_with(&self, words: &[String]) -> Vec<Seen> {
        let holds = |text: &str| words.iter().any(|word| text.contains(word));
        let lines = self.running.out.all();
        let own = lines.iter().filter(|line| holds(&line.text));
        own.filter_map(|line| seen(&line.text, line.at))
            .filter(is_verdict)
            .collect()
    }

    /// Waits for a line that holds this word.
    #[must_use]
    pub fn says(&self, patience: Duration, word: &str) -> bool {
        let line = self.running.out.wait(patience, |line| line.contains(word));
        line.is_some()
    }

    /// The first line besides verdicts that fits, waiting for it.
    #[must_use]
    pub fn notice(&self, patience: Duration, fits: impl Fn(&Seen) -> bool) -> Option<Seen> {
        let line = self.running.out.wait(patience, |line| {
            seen(line, Instant::now()).is_some_and(|seen| !is_verdict(&seen) && fits(&seen))
        })?;
        seen(&line.text, line.at)
    }

    /// Waits until it says on standard error that it watches UNIX connections: from a first dial on.
    ///
    /// # Errors
    /// When it never does.
    pub fn meets_unix(&self) -> Result<()> {
        let met = |line: &str| line.starts_with("a gateway dialled a UNIX socket");
        let line = self.running.err.wait(ATTACHING, met);
        line.map(drop).context("UNIX connections are not watched")
    }

    /// Does something while it is stopped for a while, as by `SIGSTOP`.
    pub fn while_stopped<T>(&self, span: Duration, work: impl FnOnce() -> T) -> T {
        let id = i32::try_from(self.running.pid())
            .ok()
            .and_then(Pid::from_raw);
        let signal = |signal| id.map(|id| kill_process(id, signal));
        std::thread::scope(|scope| {
            if !span.is_zero() {
                signal(Signal::STOP);
                scope.spawn(|| {
                    std::thread::sleep(span);
                    signal(Signal::CONT);
                });
            }
            work()
        })
    }

    /// How many verdicts have come so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.running.out.count()
    }

    /// What it has said so far on standard error.
    #[must_use]
    pub fn messages(&self) -> String {
        self.running.err.text()
    }

    /// Ends it as Ctrl-C does and takes all that it said.
    ///
    /// # Errors
    /// When it does not end.
    pub fn finish(mut self) -> Result<Report> {
        let status = self.running.end("INT", ENDING)?;
        self.running.out.wait_end(Duration::from_secs(5));
        self.running.err.wait_end(Duration::from_secs(5));
        let lines = self.running.out.all();
        let all = lines.iter().filter_map(|line| seen(&line.text, line.at));
        let (verdicts, notices) = all.partition(is_verdict);
        Ok(Report {
            status,
            verdicts,
            notices,
            output: self.running.out.text(),
            messages: self.running.err.text(),
        })
    }
}

fn is_verdict(seen: &Seen) -> bool {
    seen.field("/schema").starts_with("probe502.verdict/")
}

fn seen(line: &str, at: Instant) -> Option<Seen> {
    let verdict = serde_json::from_str(line).ok()?;
    Some(Seen {
        verdict,
        line: line.to_owned(),
        at,
    })
}

/// The binary: `PROBE502_BIN`, else the release build, made first.
///
/// # Errors
/// When it cannot be built.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PROBE502_BIN") {
        return Ok(path.into());
    }
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output = cargo
        .args(["build", "--release", "--quiet", "-p", "probe502"])
        .current_dir(&root)
        .output()?;
    ensure!(
        output.status.success(),
        "cargo build: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/probe502"))
}
