//! What the agent stored, asked for by its commands: `history` with each of its flags, `explain EVENT`.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::binary;
use probe502_tests::daemon::Daemon;
use probe502_tests::nginx::{Nginx, free_port};
use probe502_tests::paths::Folder;
use probe502_tests::skip::unable;
use probe502_tests::upstream::Upstream;
use serde_json::Value;

fn said(arguments: &[&str], history: &Path) -> Result<Output> {
    let mut command = Command::new(binary()?);
    Ok(command
        .args(arguments)
        .arg("--history")
        .arg(history)
        .output()?)
}

/// What `history` finds with these flags, oldest first.
fn found(flags: &[&str], history: &Path) -> Result<Vec<Value>> {
    let output = said(&[&["history", "-o", "json"], flags].concat(), history)?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.success(),
        "history {flags:?} ends with {}",
        output.status
    );
    let nothing = String::from_utf8_lossy(&output.stderr).contains("no failed answer that matches");
    ensure!(
        nothing == text.is_empty(),
        "history {flags:?} says nothing of finding nothing"
    );
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

/// Three failures of different causes, statuses and upstreams, stored.
fn stored(folder: &Folder) -> Result<Vec<Value>> {
    let history = folder.path("history.db");
    let upstream = Upstream::faulty(&[])?;
    let (faulty, lonely) = (
        Nginx::before(&upstream.addr)?,
        Nginx::before(&format!("127.0.0.1:{}", free_port("127.0.0.1")?))?,
    );
    let file = format!(
        "port = [{}, {}]\nstatus = [502, 503]\nhistory = {history:?}\n",
        faulty.port(),
        lonely.port()
    );
    let mut daemon = Daemon::start(&folder.path(""), &file, &[])?;
    faulty.get("/fault/close-without-answer/1")?;
    faulty.get("/fault/says-503/2")?;
    lonely.get("/nobody/3")?;
    daemon.reaches("probe502_history_verdicts_total", "outcome=\"written\"", 3)?;
    daemon.end()?;
    found(&[], &history)
}

/// A field that there is.
fn field(verdict: &Value, pointer: &str) -> Result<String> {
    let value = verdict.pointer(pointer);
    let value = value.with_context(|| format!("no {pointer} in {verdict}"))?;
    Ok(value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned))
}

#[test]
fn history_finds_what_its_flags_ask_for_and_explain_tells_of_an_event() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let history = folder.path("history.db");
    let all = stored(&folder)?;
    ensure!(all.len() == 3, "{all:?}");
    let chosen = |flag: &str, pointer: &str, word: &str| -> Result<Vec<Value>> {
        let own = all
            .iter()
            .filter(|one| field(one, pointer).is_ok_and(|own| own == word));
        let own: Vec<Value> = own.cloned().collect();
        let told = found(&[flag, word], &history)?;
        ensure!(told == own, "{flag} {word}: {told:?}");
        Ok(told)
    };
    for verdict in &all {
        let cause = field(verdict, "/cause")?;
        ensure!(chosen("--cause", "/cause", &cause)?.contains(verdict));
        chosen("--status", "/status", &field(verdict, "/status")?)?;
        // On a crowded host the record that tells of it may be lost.
        if let Ok(upstream) = field(verdict, "/upstream/addr") {
            chosen("--upstream", "/upstream/addr", &upstream)?;
        }
        explained(verdict, &history)?;
    }
    ensure!(chosen("--status", "/status", "503")?.len() == 1);
    ensure!(found(&["--status", "504"], &history)?.is_empty());
    ensure!(found(&["--upstream", "192.0.2.1"], &history)?.is_empty());
    ensure!(found(&["--max", "2"], &history)? == all[1..]);
    ensure!(found(&["--since", "1h"], &history)? == all);
    std::thread::sleep(Duration::from_millis(1100));
    ensure!(found(&["--since", "1s"], &history)?.is_empty());
    let absent = said(&["explain", "0-0"], &history)?;
    ensure!(absent.status.code() == Some(5), "{absent:?}");
    Ok(())
}

/// Its sentence, and its cause's page.
fn explained(verdict: &Value, history: &Path) -> Result<()> {
    let output = said(&["explain", &field(verdict, "/id")?], history)?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.success(),
        "explain ends with {}",
        output.status
    );
    for part in [field(verdict, "/sentence")?, field(verdict, "/cause")?] {
        ensure!(text.contains(&part), "{part} is not in {text}");
    }
    ensure!(text.contains("What to do"), "no page: {text}");
    Ok(())
}
