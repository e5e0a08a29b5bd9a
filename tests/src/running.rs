//! A process of ours that ends, with all its descendants, when it is dropped.

use std::collections::BTreeMap;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::lines::Lines;

/// How long a process may take to end on TERM before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// A process that we started.
pub struct Running {
    child: Child,
    /// Its standard output.
    pub out: Lines,
    /// Its standard error.
    pub err: Lines,
}

impl Running {
    /// Starts it with its output read by line.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let out = child.stdout.take().map(Lines::of).unwrap_or_default();
        let err = child.stderr.take().map(Lines::of).unwrap_or_default();
        Ok(Self { child, out, err })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    /// When it has closed its input.
    pub fn tell(&mut self, order: &str) -> Result<()> {
        use std::io::Write as _;
        let input = self.child.stdin.as_mut().context("its input is closed")?;
        // One write: the reader takes what a read returns for whole lines.
        Ok(input.write_all(format!("{order}\n").as_bytes())?)
    }

    /// Its descendants, oldest first.
    #[must_use]
    pub fn descendants(&self) -> Vec<u32> {
        let parents = parents();
        let mut family = vec![self.pid()];
        let mut next = 0;
        while let Some(&elder) = family.get(next) {
            family.extend(
                parents
                    .iter()
                    .filter(|(_, parent)| **parent == elder)
                    .map(|(pid, _)| *pid),
            );
            next += 1;
        }
        family.split_off(1)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        // The state behind the name; a child that nobody has waited for is a zombie.
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).is_ok_and(|stat| {
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('Z'))
        })
    }

    /// Sends a signal and waits for the end.
    ///
    /// # Errors
    /// When it outlives the patience.
    pub fn end(&mut self, name: &str, patience: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        signal(self.pid(), name)?;
        self.wait(patience)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it outlives the patience.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("process {} did not end within {patience:?}", self.pid());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let family = self.descendants();
        drop(self.child.stdin.take());
        if self.end("TERM", GRACE).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // Orphans go to init or a subreaper, never to someone of ours: whoever of the family is
        // alive and is not adopted by a stranger's tree still has the pid that we saw.
        let alive = parents();
        for pid in family.into_iter().filter(|pid| alive.contains_key(pid)) {
            let _ = signal(pid, "KILL");
        }
    }
}

/// Sends a signal to a process that a test started, by the `kill` program: the sender is a stranger
/// to the target, as an operator's shell is.
///
/// # Errors
/// When there is no such process.
pub fn signal(pid: u32, name: &str) -> Result<()> {
    let sent = Command::new("/bin/kill")
        .args(["-s", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status()?;
    anyhow::ensure!(sent.success(), "no process {pid} to send {name} to");
    Ok(())
}

/// Every process's parent, from /proc.
fn parents() -> BTreeMap<u32, u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

/// The fourth field of `stat`, counted from behind the name, which may hold blanks.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}
