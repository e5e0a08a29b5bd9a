//! Thousands of requests in flight, good ones and sixteen faults at random: one verdict for each failed
//! answer, and the right one.

pub mod client;
pub mod judge;
pub mod page;
pub mod play;
pub mod wire;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::accuracy::luck::Luck;
use crate::agent::{Agent, Report};
use crate::gateways::{Gateway, Kind, Plan, Server, Site};
use crate::netns::Netns;
use crate::running::Running;
use crate::skip::say;
use crate::upstream::endpoint;
use client::Sent;
use judge::Sum;

/// A fault of the storm, and the cause that it must get.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What `X-Fault` says; empty for a good request.
    pub name: &'static str,
    /// The cause.
    pub cause: &'static str,
}

const fn fault(name: &'static str, cause: &'static str) -> Fault {
    Fault { name, cause }
}

/// All sixteen.
pub const FAULTS: [Fault; 16] = [
    fault("close-without-answer", "app.closed-without-answer"),
    fault("partial-status", "app.closed-mid-header"),
    fault("partial-header", "app.closed-mid-header"),
    fault("partial-header-reset", "app.closed-mid-header"),
    fault("reset-linger", "app.reset-linger"),
    fault("reset-unread", "app.reset-unread"),
    fault("reset-unseen", "app.reset-unread"),
    fault("malformed-header", "protocol.malformed"),
    fault("header-too-big", "protocol.header-too-big"),
    fault("says-502", "relayed.upstream"),
    fault("says-503", "relayed.upstream"),
    fault("abort", "process.crash"),
    fault("exit", "process.exit"),
    fault("killed-by-parent", "process.killed.by-parent"),
    fault("killed-by-user", "process.killed.by-user"),
    fault(REFUSED, "listener.absent"),
];

/// Longer than any verdict waits for its grace.
const SILENCE: Duration = Duration::from_secs(4);

/// It needs no upstream.
const REFUSED: &str = "refused";

/// What is asked of a storm.
#[derive(Clone, Debug)]
pub struct Weather {
    /// How many requests.
    pub requests: usize,
    /// How many of them at once.
    pub at_once: usize,
    /// All ask for the same line.
    pub identical: bool,
    /// What the mix comes from.
    pub seed: u64,
    /// Bytes of the agent's ring; none, its usual size.
    pub ring: Option<u32>,
    /// For so long the agent is stopped as the storm begins.
    pub stopped: Duration,
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            requests: 9000,
            at_once: 2000,
            identical: false,
            seed: 502,
            ring: None,
            stopped: Duration::ZERO,
        }
    }
}

/// Behind this gateway.
///
/// # Errors
/// When the cast does not start.
pub fn behind(kind: Kind, weather: &Weather, record: Option<&str>) -> Result<Sum> {
    let mut luck = Luck::of(weather.seed, kind.name());
    let breaker = Breaker::start(luck.port())?;
    // A namespace where nothing listens: no stranger's listener can look like the one that was meant.
    let nowhere = Netns::make()?;
    let dead = endpoint(&nowhere.host(), luck.port());
    let sites = vec![
        Site::on("127.0.0.1", vec![Server::Tcp(breaker.addr.clone())])?,
        Site::on("127.0.0.1", vec![Server::Tcp(dead)])?,
    ];
    let gateway = Gateway::start(
        kind,
        &Plan {
            sites,
            patience: Some(Duration::from_secs(30)),
            ..Plan::default()
        },
    )?;
    let doors = [gateway.sites[0].addr, gateway.sites[1].addr];
    let ports = format!("{},{}", doors[0].port(), doors[1].port());
    let mut options = vec!["--status", "500,502,503,504", "--port", &ports, "--stats"];
    if let Some(file) = record {
        options.extend(["--record", file]);
    }
    let ring = weather.ring.map(|bytes| bytes.to_string());
    if let Some(bytes) = &ring {
        options.extend(["--ring-bytes", bytes]);
    }
    let agent = Agent::watch(&options)?;
    let began = Instant::now();
    let sent = agent.while_stopped(weather.stopped, || {
        breaker.while_killing(|| client::storm(doors, weather, &mut luck))
    })?;
    say(&format!(
        "{}: {} answers in {:.1} s",
        kind.name(),
        sent.len(),
        began.elapsed().as_secs_f32()
    ));
    if let Some(file) = record {
        std::fs::write(format!("{file}.jsonl"), truth(&sent))?;
    }
    let report = settled(agent, &sent)?;
    Ok(judge::judge(kind, &sent, &report))
}

/// What was asked and how it was broken, beside the recording, so that its replay can be judged too.
fn truth(sent: &[Sent]) -> String {
    let line = |sent: &Sent| {
        let (name, cause) = sent.fault.map(|fault| (fault.name, fault.cause)).unzip();
        let line = serde_json::json!({
            "client": sent.client, "door": sent.door, "path": sent.path,
            "status": sent.status, "fault": name, "cause": cause,
        });
        format!("{line}\n")
    };
    sent.iter().map(line).collect()
}

/// Waits until as many verdicts came as there are failed answers, and a moment more.
fn settled(agent: Agent, sent: &[Sent]) -> Result<Report> {
    let failed = sent.iter().filter(|sent| sent.status >= Some(500)).count();
    let deadline = Instant::now() + Duration::from_secs(15);
    let (mut told, mut came) = (0, Instant::now());
    // Where records were lost, some never come.
    while told < failed && Instant::now() < deadline && came.elapsed() < SILENCE {
        std::thread::sleep(Duration::from_millis(100));
        if agent.count() > told {
            (told, came) = (agent.count(), Instant::now());
        }
    }
    std::thread::sleep(Duration::from_secs(1));
    agent.finish()
}

/// The upstream, and who kills its workers.
struct Breaker {
    addr: String,
    running: Running,
}

impl Breaker {
    fn start(port: u16) -> Result<Self> {
        let own = std::env::current_exe()?;
        // A test's own program lies a folder deeper.
        let places = own.ancestors().skip(1).take(2);
        let program = places
            .map(|folder| folder.join("breaker"))
            .find(|program| program.exists());
        let program = program.context("no breaker: build it first")?;
        let running = Running::start(Command::new(program).arg(port.to_string()))?;
        let ready = running
            .out
            .wait(Duration::from_secs(5), |line| line == "listening");
        ensure!(ready.is_some(), "breaker: {}", running.err.text());
        let addr = endpoint("127.0.0.1", port);
        Ok(Self { addr, running })
    }

    /// Kills each victim that the upstream names, until the work is done.
    fn while_killing<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| self.kill_until(&done));
            let worked = work();
            done.store(true, Ordering::Release);
            worked
        })
    }

    fn kill_until(&self, done: &AtomicBool) {
        let mut heard = 1;
        while !done.load(Ordering::Acquire) {
            let patience = Duration::from_millis(50);
            let victim = self.running.out.wait_behind(heard, patience, |_| true);
            let Some(line) = victim else {
                continue;
            };
            heard += 1;
            let pid = line.text.split(' ').nth(1).and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}
