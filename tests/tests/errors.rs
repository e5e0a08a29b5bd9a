//! What goes wrong before anything is watched: the exit status, and a message that says what to do.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::binary;
use probe502_tests::cgroup::Contained;
use probe502_tests::skip::{root, skip};

/// Runs the binary with a private copy that anyone may execute, as nobody where we are root.
fn as_nobody(words: &[&str]) -> Result<Output> {
    if !root() {
        return Ok(Command::new(binary()?).args(words).output()?);
    }
    let copy = std::env::temp_dir().join(format!("probe502-nobody-{}", std::process::id()));
    fs::copy(binary()?, &copy)?;
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&copy)
        .args(words);
    let output = command.current_dir("/").output();
    fs::remove_file(&copy)?;
    Ok(output?)
}

fn ours(words: &[&str]) -> Result<Output> {
    Ok(Command::new(binary()?).args(words).output()?)
}

/// The exit status, and that every one of these words is in the message.
fn ends(output: &Output, status: i32, words: &[&str]) -> Result<()> {
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(status),
        "{}, not {status}: {message}",
        output.status
    );
    let missing: Vec<_> = words
        .iter()
        .filter(|&&word| !message.contains(word))
        .collect();
    ensure!(missing.is_empty(), "{missing:?} not in: {message}");
    ensure!(!message.contains("panicked"), "{message}");
    Ok(())
}

#[test]
fn without_root() -> Result<()> {
    ends(&as_nobody(&["watch", "--timeout", "1"])?, 3, &["sudo"])?;
    ends(&as_nobody(&["demo"])?, 3, &["sudo"])
}

#[test]
fn without_btf() -> Result<()> {
    if !root() {
        skip("needs root to hide the kernel's BTF from one process");
        return Ok(());
    }
    // A mount namespace of its own, with nothing where the kernel keeps its BTF.
    let hide = "mount -t tmpfs none /sys/kernel/btf && exec \"$0\" watch --timeout 1";
    let program = binary()?;
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", hide])
        .arg(program)
        .output()?;
    ends(&output, 3, &["BTF"])
}

#[test]
fn a_bad_flag() -> Result<()> {
    ends(&ours(&["watch", "--no-such-flag"])?, 2, &["--no-such-flag"])?;
    ends(&ours(&["watch", "--port", "http"])?, 2, &["--port"])?;
    ends(&ours(&["watch", "--status", "9999"])?, 2, &["--status"])
}

#[test]
fn a_bad_recording() -> Result<()> {
    let dir = std::env::temp_dir();
    let file = |name: &str| dir.join(format!("probe502-errors-{}-{name}", std::process::id()));
    let replay = |path: &Path| ours(&["replay", path.to_str().context("a plain path")?]);
    ends(&replay(&file("absent"))?, 1, &["absent"])?;
    let cut = file("cut");
    fs::write(&cut, "probe502 recording 1\n")?;
    let output = replay(&cut)?;
    fs::remove_file(&cut)?;
    ends(&output, 1, &["cut"])?;
    let strange = file("strange");
    fs::write(&strange, "%PDF-1.7 is no recording\n")?;
    let output = replay(&strange)?;
    fs::remove_file(&strange)?;
    ends(&output, 1, &["strange"])
}

#[test]
fn a_cause_that_nobody_knows() -> Result<()> {
    ends(
        &ours(&["explain", "process.vanished"])?,
        5,
        &["process.vanished"],
    )
}

#[test]
fn the_doctor_says_what_is_missing() -> Result<()> {
    let sick = as_nobody(&["doctor"])?;
    ensure!(matches!(sick.status.code(), Some(3 | 4)), "{}", sick.status);
    let told =
        String::from_utf8_lossy(&sick.stdout).into_owned() + &String::from_utf8_lossy(&sick.stderr);
    ensure!(
        told.contains("sudo") || told.contains("CAP_"),
        "no fix in: {told}"
    );
    if root() {
        let well = ours(&["doctor", "-o", "json"])?;
        ensure!(matches!(well.status.code(), Some(0 | 4)), "{}", well.status);
        serde_json::from_slice::<serde_json::Value>(&well.stdout).context("doctor -o json")?;
    }
    Ok(())
}

#[test]
fn a_container_without_the_hosts_cgroups_is_told_how_to_get_them() -> Result<()> {
    if !root() {
        skip("needs root to make a cgroup namespace");
        return Ok(());
    }
    let contained = Contained::default();
    let output = contained.command(&binary()?).arg("doctor").output()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    ensure!(matches!(output.status.code(), Some(3 | 4)), "{told}");
    ensure!(
        told.contains("not the host's: mount the host's /sys/fs/cgroup"),
        "{told}"
    );
    Ok(())
}
