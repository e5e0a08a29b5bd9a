//! What is installed with the binary: the systemd unit, by systemd's own tools and by its capabilities.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::binary;
use probe502_tests::daemon::Daemon;
use probe502_tests::nginx::{Nginx, free_port};
use probe502_tests::paths::Folder;
use probe502_tests::skip::unable;
use serde_json::Value;

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/probe502.service")
}

/// What the unit says for this key.
fn setting(key: &str) -> Result<String> {
    let text = fs::read_to_string(unit())?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    Ok(value.with_context(|| format!("no {key}"))?.to_owned())
}

#[test]
fn the_unit_is_understood_and_exposes_little() -> Result<()> {
    // With a program and a page that there are: the packages bring its own.
    let folder = Folder::make()?;
    let here = folder.path("probe502.service");
    let text = fs::read_to_string(unit())?;
    let text = text.replace("/usr/bin/probe502", "/bin/true");
    fs::write(&here, text.replace("Documentation=man:probe502(1)\n", ""))?;
    for arguments in [
        &["verify", "--man=no"][..],
        &["security", "--offline=yes", "--threshold=35"],
    ] {
        let mut analyze = Command::new("systemd-analyze");
        let output = analyze.args(arguments).arg(&here).output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(output.status.success(), "{arguments:?}: {said}");
    }
    Ok(())
}

#[test]
fn the_settings_file_shows_every_setting_with_its_default() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config.toml");
    let shipped = fs::read_to_string(path)?;
    let folder = Folder::make()?;
    let here = folder.path("config.toml");
    let show = |text: &str| -> Result<String> {
        fs::write(&here, text)?;
        let mut config = Command::new(binary()?);
        let output = config
            .args(["config", "show", "--config"])
            .arg(&here)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let every: String = shipped
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| !rest.starts_with(' '))
                .unwrap_or(line)
        })
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.to_owned() + "\n")
        .collect();
    let history = "history = \"/var/lib/probe502/history.db\"\n";
    ensure!(show(&every)? == show(history)?, "another default");
    for line in show(history)?.lines() {
        ensure!(every.lines().any(|one| one == line), "not shown: {line}");
    }
    Ok(())
}

/// The program, run by a user who has nothing but these capabilities, from where that user may.
fn unprivileged(folder: &Folder, capabilities: &str) -> Result<Command> {
    let program = folder.path("probe502");
    fs::copy(binary()?, &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--no-new-privs",
    ]);
    for set in ["inh-caps", "ambient-caps", "bounding-set"] {
        command.arg(format!("--{set}=-all,{capabilities}"));
    }
    command.arg(program);
    Ok(command)
}

#[test]
fn with_bpf_and_perfmon_alone_only_what_needs_more_is_missing_with_its_fix() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let doctor = |mut command: Command| -> Result<Vec<Value>> {
        let output = command.args(["doctor", "-o", "json"]).output()?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let rows = report["hooks"].as_array().context("hooks")?;
        let missing = rows.iter().filter(|row| row["state"] == "missing");
        Ok(missing.cloned().collect())
    };
    // What this kernel lacks is missing for everybody.
    let all = doctor(Command::new(binary()?))?;
    let held_back = ["packet_in", "dial4", "dial6", "socket_made", "processes"];
    let lacking = all.iter().filter_map(|row| row["name"].as_str());
    let wanted: BTreeSet<&str> = held_back.into_iter().chain(lacking).collect();
    let alone = doctor(unprivileged(&folder, "+bpf,+perfmon")?)?;
    for row in &alone {
        let name = row["name"].as_str().context("a name")?;
        ensure!(wanted.contains(name), "{row}");
        let fix = row["fix"].as_str().unwrap_or_default();
        ensure!(!fix.is_empty() && !fix.contains('\n'), "{row}");
        let needs = match name {
            "processes" => "CAP_SYS_PTRACE",
            _ if all.iter().any(|lacks| lacks["name"] == name) => "kernel",
            _ => "CAP_NET_ADMIN",
        };
        ensure!(fix.contains(needs), "{row}");
    }
    ensure!(alone.len() == wanted.len(), "{alone:?}");
    let gateway = Nginx::before(&format!("127.0.0.1:{}", free_port("127.0.0.1")?))?;
    let mut command = unprivileged(&folder, "+bpf,+perfmon")?;
    command.arg("agent");
    let file = format!("port = [{}]\n", gateway.port());
    let daemon = Daemon::run(command, &folder.path(""), &file)?;
    gateway.get("/x")?;
    daemon.counts("probe502_answers_total", 1)
}

#[test]
fn the_units_capabilities_are_enough_for_every_hook() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let state = folder.path("state");
    fs::create_dir(&state)?;
    std::os::unix::fs::chown(&state, Some(65534), Some(65534))?;
    let capabilities = setting("AmbientCapabilities")?.to_lowercase();
    ensure!(
        capabilities == setting("CapabilityBoundingSet")?.to_lowercase(),
        "more than it starts with"
    );
    let capabilities = capabilities.replace("cap_", "+").replace(' ', ",");
    let mut command = unprivileged(&folder, &capabilities)?;
    let gateway = Nginx::before(&format!("127.0.0.1:{}", free_port("127.0.0.1")?))?;
    let history = state.join("history.db");
    command.arg("agent").arg("--history").arg(&history);
    let file = format!("port = [{}]\n", gateway.port());
    let mut daemon = Daemon::run(command, &folder.path(""), &file)?;
    gateway.get("/x")?;
    daemon.reaches("probe502_history_verdicts_total", "outcome=\"written\"", 1)?;
    let series = daemon.series("probe502_answers_total")?;
    ensure!(
        series
            .keys()
            .all(|labels| labels.contains("listener.absent")),
        "{series:?}"
    );
    let root = Daemon::start(&folder.path(""), &file, &[])?;
    let hooks = |of: &Daemon| of.series("probe502_hook_attached");
    let (its, roots) = (hooks(&daemon)?, hooks(&root)?);
    ensure!(its == roots, "root has {roots:?}, it has {its:?}");
    ensure!(
        fs::metadata(&history)?.permissions().mode() & 0o007 == 0,
        "all may read it"
    );
    ensure!(daemon.end()?.success(), "{}", daemon.messages());
    Ok(())
}
