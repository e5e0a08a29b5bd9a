//! The history: what is on disk after a kill, on a full disk, and in place of a broken file.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use probe502_tests::agent::binary;
use probe502_tests::daemon::Daemon;
use probe502_tests::nginx::{Nginx, free_port};
use probe502_tests::paths::Folder;
use probe502_tests::skip::{say, unable};
use serde_json::Value;

/// Longer than any grace: what is not written by then was lost on its way.
const STILL: Duration = Duration::from_secs(10);

/// A gateway with nobody behind it, a daemon that keeps what fails there, and where.
struct Kept {
    gateway: Nginx,
    daemon: Daemon,
    history: PathBuf,
    folder: Folder,
}

fn gateway() -> Result<Nginx> {
    Nginx::before(&format!("127.0.0.1:{}", free_port("127.0.0.1")?))
}

fn keep(gateway: &Nginx, folder: &Folder, history: &Path) -> Result<Daemon> {
    let file = format!("port = [{}]\nhistory = {history:?}\n", gateway.port());
    Daemon::start(&folder.path(""), &file, &[])
}

impl Kept {
    /// Where the history begins with these bytes, or not at all.
    fn with(bytes: Option<&[u8]>) -> Result<Self> {
        let folder = Folder::make()?;
        let history = folder.path("history.db");
        if let Some(bytes) = bytes {
            fs::write(&history, bytes)?;
        }
        let gateway = gateway()?;
        let daemon = keep(&gateway, &folder, &history)?;
        Ok(Self {
            gateway,
            daemon,
            history,
            folder,
        })
    }

    /// Answers that fail under these paths, one after the other.
    fn fail(&self, name: &str, count: usize) -> Result<()> {
        let mut client = self.gateway.client()?;
        (0..count).try_for_each(|number| client.get(&format!("/{name}/{number}")).map(drop))
    }

    /// The same by two clients, a thousand a second.
    fn fail_fast(&self, name: &str, count: u64) -> Result<()> {
        let began = Instant::now();
        let half = |first: u64| -> Result<()> {
            let mut client = self.gateway.client()?;
            for number in (first..count).step_by(2) {
                let due = Duration::from_millis(number);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
                client.get(&format!("/{name}/{number}"))?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| half(1));
            half(0)?;
            other.join().map_err(|_| anyhow!("a client panicked"))?
        })?;
        say(&format!("{count} failed in {:?}", began.elapsed()));
        Ok(())
    }

    /// Kills the agent while it writes what fails; returns how many failed, the last of them behind the
    /// kill.
    fn killed_meanwhile(&mut self, name: &str) -> Result<usize> {
        let over = AtomicBool::new(false);
        let (gateway, daemon) = (&self.gateway, &mut self.daemon);
        std::thread::scope(|scope| {
            let failing = scope.spawn(|| -> Result<usize> {
                let (mut client, mut asked) = (gateway.client()?, 0);
                while !over.load(Ordering::Relaxed) {
                    client.get(&format!("/{name}/{asked}"))?;
                    asked += 1;
                }
                Ok(asked)
            });
            let killed = kill_once_it_writes(daemon);
            over.store(true, Ordering::Relaxed);
            let asked = failing.join().map_err(|_| anyhow!("the client panicked"))?;
            killed.and(asked)
        })
    }

    /// Waits until so many are written, or what is missing is counted as lost, and reads what there is.
    fn paths_or_losses(&self, asked: usize) -> Result<Vec<String>> {
        let sum = |family: &str, label: &str| -> Result<usize> {
            let series = self.daemon.series(family)?;
            let chosen = series.iter().filter(|(labels, _)| labels.contains(label));
            let sum: f64 = chosen.map(|(_, value)| value).sum();
            Ok(format!("{sum}").parse()?)
        };
        let outcome = "probe502_history_verdicts_total";
        let (mut last, mut moved) = (0, Instant::now());
        loop {
            let written = sum(outcome, "written")?;
            if written == asked {
                break;
            }
            if written != last {
                (last, moved) = (written, Instant::now());
            }
            if moved.elapsed() > STILL {
                let lost = sum("probe502_events_lost_total", "")?;
                ensure!(written + lost >= asked, "{written} and {lost} of {asked}");
                say(&format!(
                    "{written} of {asked} written, {lost} counted as lost"
                ));
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        ensure!(sum(outcome, "dropped")? == 0, "some were not written");
        let written = sum(outcome, "written")?;
        let there = paths(&self.history)?;
        ensure!(
            there.len() >= written,
            "{} of {written} are there",
            there.len()
        );
        Ok(there)
    }

    /// Waits until so many are written, and reads what there is.
    fn paths(&self, written: u64) -> Result<Vec<String>> {
        let outcome = "probe502_history_verdicts_total";
        self.daemon
            .reaches(outcome, "outcome=\"written\"", written)?;
        paths(&self.history)
    }
}

/// Some 100 of what fails meanwhile are on disk then.
fn kill_once_it_writes(daemon: &mut Daemon) -> Result<()> {
    let written = |daemon: &Daemon| -> Result<f64> {
        let series = daemon.series("probe502_history_verdicts_total")?;
        Ok(series.get("outcome=\"written\"").copied().unwrap_or(0.0))
    };
    let before = written(daemon)?;
    let began = Instant::now();
    while written(daemon)? < before + 100.0 && began.elapsed() < Duration::from_secs(60) {}
    daemon.kill().map(drop)
}

/// The paths of all that is stored, oldest first, as `history` tells them.
fn paths(history: &Path) -> Result<Vec<String>> {
    let mut command = Command::new(binary()?);
    command.args(["history", "-o", "json", "--max", "1000000", "--history"]);
    let output = command.arg(history).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "history ends with {}: {said}",
        output.status
    );
    let lines = String::from_utf8(output.stdout)?;
    let path = |line: &str| -> Result<String> {
        let verdict: Value = serde_json::from_str(line)?;
        let path = verdict["request"]["path"].as_str();
        Ok(path.context("a path")?.to_owned())
    };
    lines.lines().map(path).collect()
}

#[test]
fn what_was_written_outlives_a_kill() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut kept = Kept::with(None)?;
    kept.fail("first", 300)?;
    let mut before = kept.paths(300)?;
    ensure!(before.len() == 300, "{} of 300 are there", before.len());
    for round in 0..3 {
        // Killed in the middle of writing: some of these are on disk, and more wait.
        let asked = kept.killed_meanwhile(&format!("round-{round}"))?;
        let after = paths(&kept.history)?;
        let (known, more) = (before.len(), after.len());
        ensure!(after.starts_with(&before), "{more} are left of {known}");
        ensure!(
            (known + 1..known + asked).contains(&more),
            "killed when none waited: {more} of {known} and {asked}"
        );
        kept.daemon = keep(&kept.gateway, &kept.folder, &kept.history)?;
        kept.fail("then", 5)?;
        let then = kept.paths(5)?;
        ensure!(then.starts_with(&after), "the new agent begins anew");
        ensure!(then.len() == more + 5, "{} and {more}", then.len());
        before = then;
    }
    Ok(())
}

#[test]
fn a_history_that_breaks_under_a_living_agent_is_kept_aside() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut kept = Kept::with(None)?;
    kept.fail("old", 100)?;
    kept.paths(100)?;
    kept.daemon.end()?;
    kept.daemon = keep(&kept.gateway, &kept.folder, &kept.history)?;
    let size = usize::try_from(fs::metadata(&kept.history)?.len())?;
    fs::write(&kept.history, vec![b'Z'; size])?;
    kept.fail("new", 5)?;
    let there = kept.paths(5)?;
    ensure!(there.len() == 5 && there[0] == "/new/0", "{there:?}");
    kept.daemon.says("is kept as")?;
    ensure!(kept.daemon.page("/readyz").is_ok(), "it does not go on");
    Ok(())
}

#[test]
fn it_is_read_while_the_agent_writes() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let kept = Kept::with(None)?;
    let count = 4000;
    let began = Instant::now();
    let (reads, took) = std::thread::scope(|scope| -> Result<(Vec<Vec<String>>, Duration)> {
        let writing = scope.spawn(|| {
            kept.fail_fast("busy", count)?;
            kept.paths_or_losses(usize::try_from(count)?)?;
            Ok(began.elapsed())
        });
        let mut reads = Vec::new();
        while !writing.is_finished() {
            reads.push(paths(&kept.history)?);
        }
        let joined = writing.join();
        let took: Result<Duration> = joined.map_err(|_| anyhow!("the client panicked"))?;
        Ok((reads, took?))
    })?;
    let whole = paths(&kept.history)?;
    let count = whole.len();
    let meanwhile = |read: &&Vec<String>| !read.is_empty() && read.len() < count;
    say(&format!(
        "{count} written in {took:?}, read {} times meanwhile",
        reads.iter().filter(meanwhile).count()
    ));
    ensure!(
        reads.iter().any(|read| meanwhile(&read)),
        "never read meanwhile"
    );
    for read in &reads {
        ensure!(
            whole.starts_with(read),
            "another history after {}",
            read.len()
        );
    }
    Ok(())
}

#[test]
fn a_broken_history_is_kept_aside_and_a_new_one_begins() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let whole = {
        let mut kept = Kept::with(None)?;
        kept.fail("old", 100)?;
        kept.paths(100)?;
        kept.daemon.end()?;
        fs::read(&kept.history)?
    };
    let torn = &whole[..whole.len() / 2];
    for broken in [&b"this is no history, whatever it may be instead"[..], torn] {
        let kept = Kept::with(Some(broken))?;
        kept.fail("new", 5)?;
        let there = kept.paths(5)?;
        ensure!(there.len() == 5 && there[0] == "/new/0", "{there:?}");
        kept.daemon.says("is kept as")?;
        let aside = fs::read_dir(kept.folder.path(""))?.flatten();
        let mut aside =
            aside.filter(|file| file.file_name().to_string_lossy().contains("db.broken-"));
        let aside = aside.next().context("nothing is kept aside")?;
        ensure!(
            fs::read(aside.path())?.starts_with(&broken[..16]),
            "another file is kept"
        );
    }
    Ok(())
}

/// A small file system, gone when dropped.
struct Small(PathBuf);

impl Small {
    fn at(place: PathBuf, size: &str) -> Result<Self> {
        fs::create_dir_all(&place)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(&place);
        ensure!(mount.status()?.success(), "no tmpfs");
        Ok(Self(place))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn on_a_full_disk_the_newest_are_kept() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let gateway = gateway()?;
    let small = Small::at(folder.path("small"), "size=4m")?;
    let history = small.0.join("history.db");
    let daemon = keep(&gateway, &folder, &history)?;
    let kept = Kept {
        gateway,
        daemon,
        history,
        folder,
    };
    // More than fits, as fast as it is written.
    for part in 1..=8 {
        kept.fail(&format!("part-{part}"), 250)?;
        kept.paths(250 * part)?;
    }
    kept.daemon.says("made room for new ones")?;
    let there = kept.paths(2000)?;
    ensure!(
        there.last().is_some_and(|last| last == "/part-8/249"),
        "{:?}",
        there.last()
    );
    ensure!(
        there.len() < 2000 && there.len() > 200,
        "{} are there",
        there.len()
    );
    // Others take all the room that is left.
    let mut filler = OpenOptions::new();
    let mut filler = filler
        .create(true)
        .append(true)
        .open(small.0.join("filler"))?;
    while std::io::Write::write(&mut filler, &[1; 4096]).is_ok_and(|written| written > 0) {}
    kept.fail("late", 300)?;
    kept.daemon.counts("probe502_answers_total", 2300)?;
    fs::remove_file(small.0.join("filler"))?;
    kept.fail("last", 1)?;
    let there = kept.paths(2301)?;
    ensure!(
        there.last().is_some_and(|last| last == "/last/0"),
        "{:?}",
        there.last()
    );
    Ok(())
}
