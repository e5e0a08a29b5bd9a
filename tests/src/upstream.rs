//! Upstreams that break on demand: `faulty.py` and real application servers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::netns::Netns;
use crate::nginx::free_port;
use crate::running::Running;
use crate::venv;

/// How long a server may take to listen: on an emulated processor many start at once.
pub const STARTING: Duration = Duration::from_secs(90);

/// The directory of the upstream programs.
#[must_use]
pub fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("upstreams")
}

/// A running upstream.
pub struct Upstream {
    /// `host:port`, as nginx writes it.
    pub addr: String,
    /// Its port.
    pub port: u16,
    /// The process.
    pub running: Running,
}

impl Upstream {
    /// `faulty.py` on loopback, with these options, on a port that was chosen for it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn faulty(options: &[&str]) -> Result<Self> {
        let port = free_port("127.0.0.1")?.to_string();
        Self::faulty_at(None, &[&["--port", &port], options].concat())
    }

    /// `faulty.py` in a network namespace.
    ///
    /// # Errors
    /// When it does not start.
    pub fn faulty_at(netns: Option<&str>, options: &[&str]) -> Result<Self> {
        let mut words: Vec<String> = netns.map(Netns::prefix).unwrap_or_default();
        words.push("/usr/bin/python3".into());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg("-B")
            .arg(programs().join("faulty.py"))
            .args(options);
        let running = Running::start(command.current_dir(std::env::temp_dir()))?;
        let (host, port) = listening(&running)?;
        Ok(Self {
            addr: endpoint(&host, port),
            port,
            running,
        })
    }

    /// Another program of these, that says where it listens.
    ///
    /// # Errors
    /// When it does not start.
    pub fn python(program: &Path, words: &[&str]) -> Result<Self> {
        let mut command = Command::new("/usr/bin/python3");
        command.arg("-B").arg(program).args(words);
        let running = Running::start(command.current_dir(std::env::temp_dir()))?;
        let (host, port) = listening(&running)?;
        Ok(Self {
            addr: endpoint(&host, port),
            port,
            running,
        })
    }

    /// `faulty.py` on a UNIX socket that everyone may dial.
    ///
    /// # Errors
    /// When it does not start.
    pub fn faulty_unix(path: &Path, options: &[&str]) -> Result<Self> {
        let path = path.to_str().context("a path of text")?;
        let mut upstream = Self::faulty_at(None, &[&["--unix", path], options].concat())?;
        upstream.addr = format!("unix:{path}");
        Ok(upstream)
    }

    /// gunicorn 20.1 with the application of `slow.py`: one sync worker, and these options.
    ///
    /// # Errors
    /// When it does not start.
    pub fn gunicorn_20(options: &[&str]) -> Result<Self> {
        Self::served(
            &venv::gunicorn_20()?.join("bin/gunicorn"),
            "slow:app",
            (free_port("127.0.0.1")?, options),
        )
    }

    /// The newest gunicorn.
    ///
    /// # Errors
    /// When it does not start.
    pub fn gunicorn(options: &[&str]) -> Result<Self> {
        Self::gunicorn_on(free_port("127.0.0.1")?, options)
    }

    /// The same on this port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn gunicorn_on(port: u16, options: &[&str]) -> Result<Self> {
        let program = venv::newest()?.join("bin/gunicorn");
        Self::served(&program, "slow:app", (port, options))
    }

    /// uvicorn with the application of `asgi.py`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn uvicorn(options: &[&str]) -> Result<Self> {
        Self::uvicorn_on(free_port("127.0.0.1")?, options)
    }

    /// The same on this port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn uvicorn_on(port: u16, options: &[&str]) -> Result<Self> {
        let mut command = Command::new(venv::newest()?.join("bin/uvicorn"));
        command
            .args(["--port", &port.to_string(), "asgi:app"])
            .args(options);
        Self::ready(command, port)
    }

    fn served(program: &Path, app: &str, (port, options): (u16, &[&str])) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(["--bind", &format!("127.0.0.1:{port}"), app])
            .args(options);
        Self::ready(command, port)
    }

    /// Application servers speak of their readiness too early or not at all: a good answer is ready.
    fn ready(mut command: Command, port: u16) -> Result<Self> {
        command
            .current_dir(programs())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let mut upstream = Self {
            addr: endpoint("127.0.0.1", port),
            port,
            running: Running::start(&mut command)?,
        };
        let deadline = Instant::now() + STARTING;
        while !answers(port) {
            if Instant::now() > deadline || upstream.running.wait(Duration::ZERO).is_ok() {
                bail!(
                    "the upstream did not start: {}",
                    upstream.running.err.text()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(upstream)
    }

    /// Gives an order and waits for the word that it was done.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn order(&mut self, order: &str, done: &str) -> Result<String> {
        let before = self.running.out.all().len();
        self.running.tell(order)?;
        self.hears_behind(before, done)
    }

    /// Waits for a line that begins so.
    ///
    /// # Errors
    /// When it does not come within ten seconds.
    pub fn hears(&self, start: &str) -> Result<String> {
        self.hears_behind(0, start)
    }

    fn hears_behind(&self, count: usize, start: &str) -> Result<String> {
        let patience = Duration::from_secs(10);
        let begins = |line: &str| line.starts_with(start);
        let line = self.running.out.wait_behind(count, patience, begins);
        let complaints = || {
            format!(
                "no '{start}' from the upstream: {}",
                self.running.err.text()
            )
        };
        Ok(line.with_context(complaints)?.text)
    }

    /// The process that holds this request (`/fault/hold/ID`).
    ///
    /// # Errors
    /// When the request does not reach a process within ten seconds.
    pub fn holder(&self, id: u64) -> Result<u32> {
        let end = format!(" {id}");
        let held = |line: &str| line.starts_with("holding ") && line.ends_with(&end);
        let line = self
            .running
            .out
            .wait(Duration::from_secs(10), held)
            .context("no one holds the request")?;
        line.text
            .split(' ')
            .nth(1)
            .context("a pid")?
            .parse()
            .context("a pid")
    }
}

fn listening(running: &Running) -> Result<(String, u16)> {
    let line = running
        .out
        .wait(STARTING, |line| line.starts_with("listening "));
    let line = line.with_context(|| format!("faulty.py did not start: {}", running.err.text()))?;
    let mut words = line.text.split(' ').skip(1);
    let host = words.next().context("a host")?.to_owned();
    Ok((host, words.next().context("a port")?.parse()?))
}

/// `host:port`, with brackets where the host is IPv6.
#[must_use]
pub fn endpoint(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn answers(port: u16) -> bool {
    let client = crate::client::Client::connect(([127, 0, 0, 1], port).into());
    client
        .and_then(|mut client| client.get("/ready"))
        .is_ok_and(|answer| answer.status == 200)
}
