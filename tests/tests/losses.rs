//! Records are lost on purpose: verdicts turn unknown, none turns wrong, and the losses are counted.

use std::time::Duration;

use anyhow::{Result, ensure};
use probe502_tests::gateways::Kind;
use probe502_tests::skip::{say, unable};
use probe502_tests::storm::{Weather, behind};

/// Two pages hold some nine records; hundreds come between two reads.
const TINY: u32 = 8192;

fn blow(kind: Kind, weather: &Weather) -> Result<()> {
    if unable() {
        return Ok(());
    }
    let sum = behind(kind, weather, None)?;
    say(&sum.line());
    let bad = |line: &&String| line.starts_with("wrong") || line.starts_with("no request");
    let bad: Vec<&String> = sum.examples.iter().filter(bad).collect();
    ensure!(sum.wrong + sum.spurious == 0, "{bad:?}");
    let (lost, answers) = sum.lost;
    ensure!(lost > 0, "nothing was lost");
    ensure!(sum.unknown > 0, "nothing was unknown");
    let missed = sum.missed as u64;
    ensure!(
        missed <= answers,
        "{missed} missed, {answers} said to be lost"
    );
    Ok(())
}

fn tiny() -> Weather {
    Weather {
        requests: 500,
        at_once: 150,
        ring: Some(TINY),
        ..Weather::default()
    }
}

#[test]
fn an_event_loops_answers() -> Result<()> {
    blow(Kind::Nginx, &tiny())
}

#[test]
fn the_same_line_behind_threads() -> Result<()> {
    let identical = true;
    blow(
        Kind::Envoy,
        &Weather {
            identical,
            ..tiny()
        },
    )
}

#[test]
fn an_agent_that_was_stopped_meanwhile() -> Result<()> {
    let weather = Weather {
        ring: Some(64 << 10),
        stopped: Duration::from_secs(3),
        ..tiny()
    };
    blow(Kind::Haproxy, &weather)
}
