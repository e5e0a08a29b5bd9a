//! A running `probe502 agent`, and what it serves.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::agent::binary;
use crate::nginx::free_port;
use crate::running::{Running, signal};

/// Far above the half second that attaching may take, for a busy machine.
const ATTACHING: Duration = Duration::from_secs(90);

/// Longer than any grace: a count that stands still so long stays as it is.
const STILL: Duration = Duration::from_secs(10);

/// The daemon, in a folder of its own.
pub struct Daemon {
    running: Running,
    /// Where it serves.
    pub addr: SocketAddr,
    /// Its folder.
    pub folder: PathBuf,
}

impl Daemon {
    /// Starts it with a configuration file of this text, and waits until it serves.
    ///
    /// # Errors
    /// When it does not come to serve.
    pub fn start(folder: &Path, file: &str, options: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.arg("agent").args(options);
        Self::run(command, folder, file)
    }

    /// The same by this command, which lacks only the file and the address.
    ///
    /// # Errors
    /// When it does not come to serve.
    pub fn run(mut command: Command, folder: &Path, file: &str) -> Result<Self> {
        let config = folder.join("config.toml");
        std::fs::write(&config, file)?;
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port("127.0.0.1")?));
        command.arg("--config").arg(&config);
        command.args(["--listen", &addr.to_string()]);
        Self::serving(Running::start(&mut command)?, addr, folder)
    }

    /// One that was started otherwise, once it serves.
    ///
    /// # Errors
    /// When it does not come to serve.
    pub fn serving(running: Running, addr: SocketAddr, folder: &Path) -> Result<Self> {
        let served = running
            .err
            .wait(ATTACHING, |line| line.contains("serving on"));
        ensure!(
            served.is_some(),
            "the agent does not serve: {}",
            running.err.text()
        );
        Ok(Self {
            running,
            addr,
            folder: folder.to_owned(),
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// What it has said so far on standard error.
    #[must_use]
    pub fn messages(&self) -> String {
        self.running.err.text()
    }

    /// Waits until it says this.
    ///
    /// # Errors
    /// When it does not.
    pub fn says(&self, part: &str) -> Result<()> {
        let said = self.running.err.wait(ATTACHING, |line| line.contains(part));
        ensure!(
            said.is_some(),
            "it never said '{part}': {}",
            self.messages()
        );
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, name: &str) -> Result<()> {
        signal(self.pid(), name)
    }

    /// Ends it as its supervisor does.
    ///
    /// # Errors
    /// When it does not end.
    pub fn end(&mut self) -> Result<ExitStatus> {
        self.running.end("TERM", Duration::from_secs(10))
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.running.end("KILL", Duration::from_secs(10))
    }

    /// The body of one of its pages.
    ///
    /// # Errors
    /// When it is not 200.
    pub fn page(&self, path: &str) -> Result<String> {
        let answer = get(self.addr, path)?;
        ensure!(
            answer.status == 200,
            "{path} is {}: {}",
            answer.status,
            answer.body
        );
        Ok(answer.body)
    }

    /// The value of each series of a family by its labels, as they are written.
    ///
    /// # Errors
    /// When the metrics cannot be read.
    pub fn series(&self, family: &str) -> Result<BTreeMap<String, f64>> {
        let text = self.page("/metrics")?;
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').context("a sample")?;
            let (own, labels) = name.split_once('{').unwrap_or((name, "}"));
            if own == family {
                series.insert(labels.trim_end_matches('}').to_owned(), value.parse()?);
            }
        }
        Ok(series)
    }

    /// Waits until the family's sum is this.
    ///
    /// # Errors
    /// When it does not become so.
    pub fn counts(&self, family: &str, wanted: u64) -> Result<()> {
        self.reaches(family, "", wanted)
    }

    /// Waits until the sum of the family's series with this label is this.
    ///
    /// # Errors
    /// When it does not become so.
    #[allow(clippy::cast_precision_loss, reason = "counts of a test")]
    pub fn reaches(&self, family: &str, label: &str, wanted: u64) -> Result<()> {
        let mut last = -1.0;
        let mut moved = Instant::now();
        loop {
            let series = self.series(family)?;
            let chosen = series.iter().filter(|(labels, _)| labels.contains(label));
            let sum: f64 = chosen.map(|(_, value)| value).sum();
            if (sum - wanted as f64).abs() < 0.5 {
                return Ok(());
            }
            if sum > last {
                (last, moved) = (sum, Instant::now());
            }
            if moved.elapsed() > STILL {
                let lost = self.series("probe502_events_lost_total")?;
                let said = self.messages();
                bail!("{family} is {sum}, not {wanted}; lost: {lost:?}; {series:?}; {said}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What an HTTP server answered.
#[derive(Debug)]
pub struct Page {
    /// The status code.
    pub status: u16,
    /// The header, as it came.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Asks by GET, on a connection of its own.
///
/// # Errors
/// When no whole answer comes.
pub fn get(addr: SocketAddr, path: &str) -> Result<Page> {
    raw(
        addr,
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
    )
}

/// Sends these bytes, and reads until the other end closes.
///
/// # Errors
/// When no answer comes.
pub fn raw(addr: SocketAddr, bytes: &[u8]) -> Result<Page> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(ATTACHING))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.get(9..12).and_then(|code| code.parse().ok());
    Ok(Page {
        status: status.with_context(|| format!("no status line: {head}"))?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}
