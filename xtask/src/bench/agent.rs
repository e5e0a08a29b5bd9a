//! The agent while it is measured: attached, at work, and asked for its counts at the end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::cpu;

/// The verifier takes some seconds of a processor: far more than that, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the agent itself took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// From the attach to the end of the load.
    pub cpu: Duration,
    /// The time in which it took that.
    pub took: Duration,
    /// Memory resident at the end of the load, bytes.
    pub memory: u64,
    /// The most that ever was, start included, bytes.
    pub peak: u64,
    /// From its start until it says that it watches.
    pub attached: Duration,
    /// Verdicts told.
    pub verdicts: u64,
    /// Records lost.
    pub lost: u64,
}

/// An agent that watches one gateway and writes JSON to nowhere.
pub struct Watching {
    child: Child,
    said: Receiver<String>,
    began: Instant,
    attached: Duration,
    cpu: Duration,
}

impl Watching {
    /// Starts it and waits until it says that it watches.
    pub fn start(agent: &Path, port: u16) -> Result<Self> {
        let mut command = Command::new(agent);
        command.args([
            "watch",
            "--output",
            "json",
            "--stats",
            "--port",
            &port.to_string(),
        ]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| agent.display().to_string())?;
        let said = child
            .stderr
            .take()
            .map(lines)
            .context("no standard error")?;
        let mut watching = Self {
            child,
            said,
            began: Instant::now(),
            attached: Duration::ZERO,
            cpu: Duration::ZERO,
        };
        watching.wait_for("watching", PATIENCE)?;
        watching.attached = watching.began.elapsed();
        watching.began = Instant::now();
        watching.cpu = cpu::of_process(watching.pid())?;
        Ok(watching)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as its users do and reads its own counts.
    pub fn stop(mut self) -> Result<Cost> {
        let (memory, peak) = cpu::memory(self.pid())?;
        let mut cost = Cost {
            cpu: cpu::of_process(self.pid())?.saturating_sub(self.cpu),
            took: self.began.elapsed(),
            memory,
            peak,
            attached: self.attached,
            ..Cost::default()
        };
        let id = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(id.context("the agent has no pid")?, Signal::TERM)?;
        let stats = self.wait_for("stats ", PATIENCE)?;
        let stats: Value = serde_json::from_str(stats.trim_start_matches("stats "))?;
        cost.verdicts = stats["verdicts"]
            .as_u64()
            .context("stats without verdicts")?;
        cost.lost = stats["lost"].as_u64().context("stats without lost")?;
        self.child.wait()?;
        Ok(cost)
    }

    fn wait_for(&mut self, beginning: &str, patience: Duration) -> Result<String> {
        let deadline = Instant::now() + patience;
        let mut others = Vec::new();
        while let Ok(line) = self
            .said
            .recv_timeout(deadline.duration_since(Instant::now()))
        {
            if line.starts_with(beginning) {
                return Ok(line);
            }
            others.push(line);
        }
        bail!(
            "the agent did not say `{beginning}…`; it said: {}",
            others.join(" / ")
        )
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // After a clean stop there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: ChildStderr) -> Receiver<String> {
    let (tell, said) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    said
}
