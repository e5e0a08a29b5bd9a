//! Secrets that must not get out, characters that must not reach a terminal, and an end that must leave nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::binary;
use probe502_tests::client::SECRET;
use probe502_tests::daemon::Daemon;
use probe502_tests::fdinfo::{descriptors, number};
use probe502_tests::nginx::Nginx;
use probe502_tests::paths::Folder;
use probe502_tests::running::Running;
use probe502_tests::skip::unable;
use probe502_tests::upstream::{Upstream, programs};

/// Far more than a verdict takes, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How `private.py` breaks; each is a 502.
const BREAKS: [&str; 4] = ["bad-header", "mid-header", "own-502", "nothing"];

/// In a request's target: a right-to-left override (U+202E), and C1's "control sequence" (U+009B), as UTF-8.
const ODD: &str = "\u{202e}\u{9b}31m";

/// An upstream with a secret in its arguments and its environment, and a gateway before it.
fn stage() -> Result<(Running, Nginx)> {
    let mut command = Command::new("/usr/bin/python3");
    command
        .arg("-B")
        .arg(programs().join("private.py"))
        .arg(format!("--password={SECRET}"))
        .env("API_KEY", SECRET);
    let upstream = Running::start(&mut command)?;
    let line = upstream
        .out
        .wait(PATIENCE, |line| line.starts_with("listening "))
        .with_context(|| format!("no upstream: {}", upstream.err.text()))?;
    let port = line.text.rsplit(' ').next().context("a port")?;
    let gateway = Nginx::before(&format!("127.0.0.1:{port}"))?;
    Ok((upstream, gateway))
}

/// A `watch` of this gateway with these words, once it watches.
fn watching(gateway: &Nginx, words: &[&str]) -> Result<Running> {
    let mut command = Command::new(binary()?);
    command.args(["watch", "--port", &gateway.port().to_string()]);
    let running = Running::start(command.args(words))?;
    let ready = running
        .err
        .wait(PATIENCE, |line| line.starts_with("watching"));
    ready.with_context(|| format!("it does not watch: {}", running.err.text()))?;
    Ok(running)
}

/// Each way to break once, with the secret in the query, in a field and in the body of the request.
fn break_all(gateway: &Nginx, suffix: &str) -> Result<()> {
    for way in BREAKS {
        let answer = gateway.post(&format!("/break/{way}{suffix}?token={SECRET}"))?;
        ensure!(answer.status == 502, "{way} is {}", answer.status);
    }
    Ok(())
}

/// All that it says about all of them, to its end.
fn says(mut watch: Running) -> Result<String> {
    for way in BREAKS {
        let path = format!("/break/{way}");
        let said = watch.out.wait(PATIENCE, |line| line.contains(&path));
        said.with_context(|| format!("nothing of {path}: {}", watch.err.text()))?;
    }
    watch.end("INT", PATIENCE)?;
    watch.out.wait_end(PATIENCE);
    watch.err.wait_end(PATIENCE);
    Ok(watch.out.text() + &watch.err.text())
}

fn run(words: &[&str]) -> Result<String> {
    let output = Command::new(binary()?).args(words).output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn unpacked(file: &Path) -> Result<String> {
    let output = Command::new("zcat").arg(file).output()?;
    ensure!(output.status.success(), "zcat: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a program's output may not hold, since a terminal would obey it or show it in another order.
fn is_obeyed(letter: char) -> bool {
    let reorders = matches!(letter, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter != '\n' && letter.is_control() || reorders
}

#[test]
fn no_secret_gets_out() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let (_upstream, gateway) = stage()?;
    let folder = Folder::make()?;
    let (recording, history) = (folder.path("case.p502"), folder.path("history.db"));
    let (recording_path, history_path) = (
        recording.to_str().context("a path")?,
        history.to_str().context("a path")?,
    );
    let file = format!("port = [{}]\nhistory = {history:?}\n", gateway.port());
    let mut daemon = Daemon::start(&folder.path(""), &file, &[])?;
    let text = watching(&gateway, &[])?;
    let json = watching(&gateway, &["-o", "json", "--record", recording_path])?;
    break_all(&gateway, "")?;
    daemon.counts("probe502_answers_total", BREAKS.len() as u64)?;
    let written = "probe502_history_verdicts_total";
    daemon.reaches(written, "", BREAKS.len() as u64)?;
    let mut told = vec![
        ("watch", says(text)?),
        ("watch -o json", says(json)?),
        ("the recording", unpacked(&recording)?),
        (
            "the replay",
            run(&["replay", "-o", "json", recording_path])?,
        ),
        ("/api/newest", daemon.page("/api/newest")?),
    ];
    let listed = run(&["history", "-o", "json", "--history", history_path])?;
    told.push(("history", listed));
    for (name, text) in &told {
        ensure!(
            text.contains("/break/own-502"),
            "{name} shows no path: {text}"
        );
    }
    told.push(("/metrics", daemon.page("/metrics")?));
    told.push(("/api/summary", daemon.page("/api/summary")?));
    daemon.end()?;
    told.push(("the daemon's messages", daemon.messages()));
    let stored = fs::read(&history)?;
    told.push(("history.db", String::from_utf8_lossy(&stored).into_owned()));
    for (name, text) in &told {
        ensure!(!text.contains(SECRET), "a secret is in {name}: {text}");
    }
    Ok(())
}

#[test]
fn nothing_that_a_terminal_obeys_gets_out() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let (_upstream, gateway) = stage()?;
    let text = watching(&gateway, &[])?;
    let wide = watching(&gateway, &["-o", "wide"])?;
    break_all(&gateway, &format!("/{ODD}"))?;
    for said in [says(text)?, says(wide)?] {
        let obeyed = said.chars().find(|letter| is_obeyed(*letter));
        ensure!(obeyed.is_none(), "{obeyed:?} is in: {said}");
    }
    Ok(())
}

/// The kernel's numbers of the programs, maps and links that a process holds (proc(5), fdinfo).
fn held(pid: u32) -> Result<[BTreeSet<u64>; 3]> {
    let held = descriptors(pid)?;
    let of = |kind| held.iter().filter_map(|one| number(one, kind)).collect();
    Ok(["prog_id:", "map_id:", "link_id:"].map(of))
}

/// All that the kernel has of each kind (bpf(2), `BPF_PROG_GET_NEXT_ID` and its like), but for what
/// goes while we look.
fn all() -> [BTreeSet<u64>; 3] {
    let programs = aya::programs::loaded_programs().flatten();
    let maps = aya::maps::loaded_maps().flatten();
    let links = aya::programs::loaded_links().flatten();
    [
        programs.map(|program| program.id().into()).collect(),
        maps.map(|map| map.id().into()).collect(),
        links.map(|link| link.id().into()).collect(),
    ]
}

#[test]
fn killed_at_once_it_leaves_nothing_in_the_kernel() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let gateway = Nginx::before(&upstream.addr)?;
    let folder = Folder::make()?;
    let file = format!("port = [{}]\n", gateway.port());
    let mut daemon = Daemon::start(&folder.path(""), &file, &[])?;
    let answer = gateway.get("/fault/says-502/1")?;
    ensure!(answer.status == 502, "{}", answer.status);
    daemon.counts("probe502_answers_total", 1)?;
    let held = held(daemon.pid())?;
    for (ids, there) in held.iter().zip(&all()) {
        ensure!(
            !ids.is_empty() && ids.is_subset(there),
            "not all of {ids:?}"
        );
    }
    daemon.kill()?;
    let end = Instant::now() + PATIENCE;
    // The kernel lets go of them in its own time, when no processor runs them any more.
    let left = loop {
        let left: Vec<_> = held
            .iter()
            .zip(&all())
            .map(|(ids, there)| ids & there)
            .collect();
        if left.iter().all(BTreeSet::is_empty) || Instant::now() > end {
            break left;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    ensure!(left.iter().all(BTreeSet::is_empty), "still there: {left:?}");
    let answer = gateway.get("/good")?;
    ensure!(
        answer.status == 200,
        "{} after it was killed",
        answer.status
    );
    Ok(())
}
