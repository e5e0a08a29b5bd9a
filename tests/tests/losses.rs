//! Records are lost on purpose: verdicts turn unknown, none turns wrong, and the losses are counted.

use std::time::Duration;

use anyhow::{Result, ensure};
use probe502_tests::client::next_id;
use probe502_tests::gateways::Kind;
use probe502_tests::netns::Netns;
use probe502_tests::nginx::Nginx;
use probe502_tests::skip::{say, skip, unable};
use probe502_tests::storm::{Weather, behind};
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::{Sure, Watch};

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
    let lines = || sum.examples.join("\n");
    ensure!(sum.evidence_lost > 0, "no evidence was lost: {}", lines());
    // As without a loss: an agent that does not know of its loss explains nothing by it.
    let unexplained = sum.unknown - sum.evidence_lost;
    ensure!(
        unexplained * 100 <= sum.failed,
        "{unexplained} unexplained: {}",
        lines()
    );
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

/// The kernel may refuse to keep anything beside an upstream's sockets: the absence of its acts proves
/// nothing then.
#[test]
fn what_the_kernel_has_no_memory_to_remember() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let netns = Netns::make()?;
    if netns
        .run(&["sysctl", "-qw", "net.core.optmem_max=512"])
        .is_err()
    {
        skip("this kernel has one optmem_max for all namespaces");
        return Ok(());
    }
    let host = netns.host();
    let upstream = Upstream::faulty_at(Some(&netns.name), &["--host", &host, "--port", "8000"])?;
    let gateway = Nginx::before(&upstream.addr)?;
    let mut watch = Watch::over(&gateway)?;
    let answer = gateway.get(&format!("/fault/close-without-answer/{}", next_id()))?;
    watch.expect(&answer, "unknown.evidence-lost", Sure::Unknown);
    watch.end().map(drop)
}
