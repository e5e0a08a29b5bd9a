//! The kernel's verifier takes every program, by a wide margin: other kernels' verifiers take longer ways.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::binary;
use probe502_tests::fdinfo::{descriptors, number};
use probe502_tests::running::Running;
use probe502_tests::skip::unable;

/// Far more than loading takes, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The verifier gives up at a million steps (`BPF_COMPLEXITY_LIMIT_INSNS`, include/linux/bpf.h).
const STEPS: u64 = 600_000;

/// The steps that the verifier took for each program that a process holds, by the program's number
/// (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c).
fn steps(pid: u32) -> Result<BTreeMap<u64, u64>> {
    let held = descriptors(pid)?;
    let programs = held.iter().filter_map(|one| {
        let steps = number(one, "verified_insns:")?;
        Some((number(one, "prog_id:")?, steps))
    });
    Ok(programs.collect())
}

fn loads(options: &[&str]) -> Result<()> {
    let mut command = Command::new(binary()?);
    command.args(["watch", "--port", "1"]).args(options);
    let mut watch = Running::start(&mut command)?;
    let ready = watch
        .err
        .wait(PATIENCE, |line| line.starts_with("watching"));
    ready.with_context(|| format!("it does not watch: {}", watch.err.text()))?;
    let steps = steps(watch.pid())?;
    watch.end("INT", PATIENCE)?;
    ensure!(steps.len() > 10, "only {} programs: {steps:?}", steps.len());
    let most = steps.values().max().copied().unwrap_or(0);
    ensure!(most < STEPS, "a program takes {most} steps: {steps:?}");
    Ok(())
}

#[test]
fn no_program_is_near_the_verifiers_end() -> Result<()> {
    if unable() {
        return Ok(());
    }
    loads(&[])?;
    loads(&["--silent"])
}

#[test]
fn no_hook_stands_in_for_one_that_was_refused() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let output = Command::new(binary()?)
        .args(["doctor", "-o", "json"])
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.contains("\"hooks\""), "{said}");
    ensure!(!said.contains("the kernel refused"), "{said}");
    Ok(())
}
