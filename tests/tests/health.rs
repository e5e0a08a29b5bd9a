//! What a supervisor's probes hear: who does not see failures is not ready, and who stands still is not alive.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::binary;
use probe502_tests::daemon::{Daemon, get};
use probe502_tests::nginx::{Nginx, free_port};
use probe502_tests::paths::Folder;
use probe502_tests::running::Running;
use probe502_tests::skip::unable;

const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Longer than attaching takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Whether an answer comes within a second, as a supervisor would wait for it.
fn answers(addr: SocketAddr, path: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    match stream.read(&mut [0; 64]) {
        Ok(length) => Ok(length > 0),
        Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether every thread of it is stopped (proc_pid_stat(5)).
fn stands_still(pid: u32) -> Result<bool> {
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
        let state = stat.rsplit(") ").next().context("a state")?;
        if !state.starts_with('T') {
            return Ok(false);
        }
    }
    Ok(true)
}

#[test]
fn who_reads_no_records_is_neither_alive_nor_ready() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let daemon = Daemon::start(&folder.path(""), "port = [1]\n", &[])?;
    daemon.signal("STOP")?;
    while !stands_still(daemon.pid())? {
        std::thread::sleep(Duration::from_millis(1));
    }
    for path in PROBES {
        ensure!(!answers(daemon.addr, path)?, "{path} is answered");
    }
    daemon.signal("CONT")?;
    for path in PROBES {
        ensure!(
            get(daemon.addr, path)?.status == 200,
            "{path} is not answered"
        );
    }
    Ok(())
}

/// Nobody answers before every hook is attached: whoever is ready sees the next failure.
#[test]
fn who_is_ready_sees_the_next_failure() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let gateway = Nginx::before(&format!("127.0.0.1:{}", free_port("127.0.0.1")?))?;
    let config = folder.path("config.toml");
    std::fs::write(&config, format!("port = [{}]\n", gateway.port()))?;
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port("127.0.0.1")?));
    let mut command = Command::new(binary()?);
    command.arg("agent").arg("--config").arg(&config);
    let running = Running::start(command.args(["--listen", &addr.to_string()]))?;
    let began = Instant::now();
    let mut refused = 0;
    let ready = loop {
        match get(addr, "/readyz") {
            Ok(answer) => break answer,
            Err(error) => {
                refused += 1;
                let late = began.elapsed() > PATIENCE;
                ensure!(!late, "{error:#}: {}", running.err.text());
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    gateway.get("/after/ready")?;
    ensure!(
        ready.status == 200 && ready.body.starts_with("ready"),
        "{ready:?}"
    );
    ensure!(refused > 0, "it was ready before it could be");
    let daemon = Daemon::serving(running, addr, &folder.path(""))?;
    daemon.counts("probe502_answers_total", 1)
}

/// An agent that may load nothing never comes to be ready.
#[test]
fn who_cannot_attach_is_never_ready() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port("127.0.0.1")?));
    let mut command = Command::new("setpriv");
    for set in ["inh-caps", "ambient-caps", "bounding-set"] {
        command.arg(format!("--{set}=-all"));
    }
    command
        .arg(binary()?)
        .args(["agent", "--listen", &addr.to_string()]);
    let mut running = Running::start(&mut command)?;
    while !running.is_over() {
        ensure!(get(addr, "/readyz").is_err(), "it says that it is ready");
        std::thread::sleep(Duration::from_millis(1));
    }
    let status = running.wait(PATIENCE)?;
    ensure!(status.code() == Some(3), "{status}: {}", running.err.text());
    let why = running.err.text();
    why.contains("CAP_").then_some(()).context(why)
}
