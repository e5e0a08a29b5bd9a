//! What people use instead, under the same load.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::cpu;
use super::load::Load;
use super::nginx::Servers;
use crate::process::on_path;

/// Resets and changes of state, as one who looks for failed upstreams prints them.
const SCRIPT: &str = "tracepoint:sock:inet_sock_set_state { @[args->oldstate, args->newstate] = count(); } \
    tracepoint:tcp:tcp_receive_reset { @heard = count(); } \
    tracepoint:tcp:tcp_send_reset { @sent = count(); }";

/// How long a tool takes to begin: it does not say when it has.
const BEGINS: Duration = Duration::from_secs(2);

/// One tool beside one load.
pub struct Other {
    pub name: &'static str,
    /// The gateway's CPU a request with it, as multiples of that without.
    pub ratios: Vec<f64>,
    /// Its own processor time, cores of it.
    pub cores: Vec<f64>,
}

/// Those of them that are installed.
pub fn measure(
    load: Load,
    servers: &Servers,
    pairs: u32,
    duration: Duration,
) -> Result<Vec<Other>> {
    let installed = tools(servers)?
        .into_iter()
        .filter(|(_, command)| on_path(&command.get_program().to_string_lossy()));
    let mut others = Vec::new();
    for (name, mut command) in installed {
        let mut other = Other {
            name,
            ratios: Vec::new(),
            cores: Vec::new(),
        };
        for _ in 0..pairs {
            let without = load.run(servers, duration)?;
            let mut tool = Beside::start(&mut command)?;
            let before = cpu::of_process(tool.pid())?;
            let with = load.run(servers, duration)?;
            // One that gave up at once was not measured.
            if tool.0.try_wait()?.is_some() {
                break;
            }
            let took = cpu::of_process(tool.pid())?.saturating_sub(before);
            other.ratios.push(with.nanos_each() / without.nanos_each());
            let cores = took.as_secs_f64() / with.took.as_secs_f64();
            other.cores.push(cores);
        }
        eprintln!("{load}: {name}, {} pairs", other.ratios.len());
        if !other.ratios.is_empty() {
            others.push(other);
        }
    }
    Ok(others)
}

fn tools(servers: &Servers) -> Result<Vec<(&'static str, Command)>> {
    let upstream = format!("tcp port {}", servers.upstream);
    let mut capture = Command::new("tcpdump");
    capture.args(["-i", "lo", "-w", "/dev/null", "-Z", "root", &upstream]);
    let mut script = Command::new("bpftrace");
    script.args(["-e", SCRIPT]);
    let mut calls = Command::new("strace");
    calls.args(["-f", "-e", "trace=network", "-o", "/dev/null"]);
    for pid in cpu::family(servers.gateway_pid())? {
        calls.args(["-p", &pid.to_string()]);
    }
    Ok(vec![
        ("`tcpdump -w` on the upstream's port", capture),
        ("`bpftrace`, changes of state and resets", script),
        ("`strace -f -e trace=network` on nginx", calls),
    ])
}

/// A tool at work; it ends with this.
struct Beside(Child);

impl Beside {
    fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run a tool beside the load")?;
        std::thread::sleep(BEGINS);
        Ok(Self(child))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // What has ended by itself needs no end. `strace` lets go of nginx at an interrupt.
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        let _ = id.map(|id| kill_process(id, Signal::INT));
        let _ = self.0.wait();
    }
}
