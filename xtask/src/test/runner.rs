//! `cargo test`, shown as it runs and counted by what it says.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use anyhow::{Context, Result};

use super::tally::Tally;
use crate::process::shown;

/// Runs every test that the command selects and adds them to the tally.
pub fn run(name: &str, command: &mut Command, tally: &mut Tally) -> Result<()> {
    let began = Instant::now();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    let (lines, said) = channel();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let failed_before = tally.failed();
    std::thread::scope(|scope| {
        out.map(|out| {
            scope.spawn({
                let lines = lines.clone();
                move || pass_on(out, &lines)
            })
        });
        err.map(|err| scope.spawn(move || pass_on(err, &lines)));
        for line in said {
            println!("{line}");
            count(&line, tally);
        }
    });
    let status = child.wait()?;
    if !status.success() && tally.failed() == failed_before {
        tally.fail(&format!("{name}: {} ended with {status}", shown(command)));
    }
    println!("{name}: {:.1} s", began.elapsed().as_secs_f32());
    Ok(())
}

fn pass_on(output: impl Read, lines: &Sender<String>) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if lines.send(line).is_err() {
            return;
        }
    }
}

/// Reads the words of Rust's test harness, and of our own tests that skip themselves.
fn count(line: &str, tally: &mut Tally) {
    if let Some(sums) = line.strip_prefix("test result: ") {
        tally.pass(passes(sums));
    } else if let Some(skip) = line.strip_prefix("skipped #") {
        let (_, words) = skip.split_once(' ').unwrap_or(("", skip));
        let (test, reason) = words
            .trim()
            .split_once(": ")
            .unwrap_or((words.trim(), "no reason given"));
        tally.skip_itself(test, reason);
    } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(outcome) {
        if outcome == "FAILED" {
            tally.note_failure(name);
        } else if let Some(reason) = outcome.strip_prefix("ignored") {
            let reason = reason.trim_start_matches([',', ' ']);
            tally.skip(
                name,
                if reason.is_empty() {
                    "ignored without a reason"
                } else {
                    reason
                },
            );
        }
    }
}

/// `name ... outcome`
fn outcome(line: &str) -> Option<(&str, &str)> {
    line.split_once(" ... ")
}

/// `ok. 12 passed; 0 failed; 1 ignored; …`
fn passes(sums: &str) -> usize {
    let (_, sums) = sums.split_once(". ").unwrap_or_default();
    let passed = sums.split("; ").find_map(|sum| sum.strip_suffix(" passed"));
    passed.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| count(line, &mut tally));
        tally
    }

    #[test]
    fn the_sums_of_several_runners_add_up() {
        let tally = counted(&[
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test a::d ... ignored, needs a moon",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ]);
        assert_eq!(tally.line(), "5 passed, 1 failed, 1 skipped");
        assert_eq!(
            tally.details(),
            "failed   a::c\nskipped  a::d: needs a moon\n"
        );
    }

    #[test]
    fn a_test_that_skips_itself_did_not_pass() {
        let tally = counted(&[
            "skipped #1  faults: needs root; run it as `sudo`",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ]);
        assert_eq!(tally.line(), "1 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn a_runner_that_fails_without_a_failing_test_is_a_failure() {
        let mut tally = Tally::default();
        run(
            "units",
            Command::new("sh").args(["-c", "echo no; exit 101"]),
            &mut tally,
        )
        .unwrap();
        assert_eq!(tally.failed(), 1);
    }
}
