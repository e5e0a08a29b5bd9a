//! The history: what is on disk after a kill, on a full disk, and in place of a broken file.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use probe502_tests::agent::binary;
use probe502_tests::daemon::Daemon;
use probe502_tests::nginx::{Nginx, free_port};
use probe502_tests::paths::Folder;
use probe502_tests::skip::{say, unable};
use serde_json::Value;

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

    /// Waits until so many are written, and reads what there is.
    fn paths(&self, written: u64) -> Result<Vec<String>> {
        let outcome = "probe502_history_verdicts_total";
        self.daemon
            .reaches(outcome, "outcome=\"written\"", written)?;
        paths(&self.history)
    }
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
    let before = kept.paths(300)?;
    ensure!(before.len() == 300, "{} of 300 are there", before.len());
    // Killed while it writes these.
    kept.fail("meanwhile", 300)?;
    kept.daemon.kill()?;
    let after = paths(&kept.history)?;
    ensure!(
        after.starts_with(&before),
        "{} of 300 are left",
        after.len()
    );
    kept.daemon = keep(&kept.gateway, &kept.folder, &kept.history)?;
    kept.fail("then", 5)?;
    let then = kept.paths(5)?;
    ensure!(
        then.starts_with(&after),
        "the new agent begins anew: {then:?}"
    );
    ensure!(
        then.len() == after.len() + 5,
        "{} and {}",
        then.len(),
        after.len()
    );
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
            kept.fail("busy", count)?;
            let outcome = "probe502_history_verdicts_total";
            kept.daemon
                .reaches(outcome, "outcome=\"written\"", count as u64)?;
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
    ensure!(whole.len() == count, "{} of {count}", whole.len());
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
