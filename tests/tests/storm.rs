//! Many failures at once: each answer has exactly one verdict, and the right one.

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use anyhow::{Result, ensure};
use probe502_tests::agent::{Agent, Seen};
use probe502_tests::client::Answer;
use probe502_tests::netns::Netns;
use probe502_tests::nginx::{Nginx, Plan};
use probe502_tests::repertoire::{Fault, fault};
use probe502_tests::skip::{say, unable};
use probe502_tests::upstream::Upstream;

const REQUESTS: usize = 300;

const MIXED: [&str; 8] = [
    "close-without-answer",
    "partial-header",
    "reset-linger",
    "reset-unread",
    "malformed-header",
    "says-502",
    "segv",
    "exit-late",
];

#[test]
fn three_hundred_at_once_over_eight_faults() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    storm(Nginx::before(&upstream.addr)?, &[])
}

#[test]
fn the_same_seen_by_cgroup_egress() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    storm(Nginx::before(&upstream.addr)?, &["--force-egress"])
}

#[test]
fn the_same_across_namespaces_with_packets_on_the_other_processor() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let netns = Netns::make()?;
    netns.steer(1)?;
    let upstream = Upstream::faulty_at(Some(&netns.name), &["--host", &netns.host()])?;
    storm(
        Nginx::start(&Plan {
            cpu: Some(0),
            ..Plan::before(&upstream.addr)
        })?,
        &[],
    )
}

fn storm(gateway: Nginx, options: &[&str]) -> Result<()> {
    let gateway = Arc::new(gateway);
    let port = gateway.port().to_string();
    let kept = std::env::var("PROBE502_KEEP").map(|dir| format!("{dir}/storm-{port}.gz"));
    let mut words = [&["--port", &port], options].concat();
    if let Ok(file) = &kept {
        words.extend(["--record", file]);
    }
    let agent = Agent::watch(&words)?;
    let failed = all_at_once(&gateway)?;
    let last = |seen: &Seen| {
        failed
            .iter()
            .all(|(_, answer)| answer.path != seen.field("/request/path"))
    };
    let stray = agent.verdict(Duration::from_secs(3), last);
    let report = agent.finish()?;
    ensure!(
        stray.is_none(),
        "a verdict for no request: {}",
        stray.map_or_else(String::new, |seen| seen.line)
    );
    judge(&failed, &report.verdicts)
}

/// All clients wait at a barrier with their connections open.
fn all_at_once(gateway: &Arc<Nginx>) -> Result<Vec<(Fault, Answer)>> {
    let barrier = Arc::new(Barrier::new(REQUESTS));
    let asked = (0..REQUESTS).map(|number| {
        let (gateway, barrier) = (Arc::clone(gateway), Arc::clone(&barrier));
        let fault = fault(MIXED[number % MIXED.len()]);
        std::thread::spawn(move || {
            barrier.wait();
            fault.ask(&gateway).map(|answer| (fault, answer))
        })
    });
    let asked: Vec<_> = asked.collect();
    asked
        .into_iter()
        .map(|client| {
            client
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))?
        })
        .collect()
}

fn judge(failed: &[(Fault, Answer)], verdicts: &[Seen]) -> Result<()> {
    let mut by_path: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for seen in verdicts {
        by_path
            .entry(seen.field("/request/path"))
            .or_default()
            .push(seen);
    }
    let (mut unknown, mut wrong, mut latest) = (0, Vec::new(), Duration::ZERO);
    for (fault, answer) in failed {
        ensure!(
            answer.status == 502,
            "{} got {}",
            answer.path,
            answer.status
        );
        let told = by_path
            .get(answer.path.as_str())
            .map_or(&[][..], Vec::as_slice);
        let [seen] = told else {
            wrong.push(format!("{} has {} verdicts", answer.path, told.len()));
            continue;
        };
        latest = latest.max(seen.at.saturating_duration_since(answer.at));
        let cause = seen.field("/cause");
        if cause.starts_with("unknown.") {
            unknown += 1;
            say(&seen.line);
        } else if cause != fault.cause {
            wrong.push(format!("{}: {}", answer.path, seen.line));
        }
    }
    say(&format!(
        "storm: {} answers, {} wrong, {unknown} unknown, the latest verdict after {latest:?}",
        failed.len(),
        wrong.len()
    ));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(
        verdicts.len() == failed.len(),
        "{} verdicts for {} answers",
        verdicts.len(),
        failed.len()
    );
    ensure!(
        unknown * 100 <= failed.len(),
        "{unknown} of {} are unknown",
        failed.len()
    );
    Ok(())
}
