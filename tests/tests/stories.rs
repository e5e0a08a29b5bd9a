//! What is told besides failed answers: near misses, failures without a status.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::{Agent, Report, Seen};
use probe502_tests::client::{Client, next_id};
use probe502_tests::firewall::Firewall;
use probe502_tests::gateways::{Gateway, Kind};
use probe502_tests::nginx::{Nginx, Plan, free_port};
use probe502_tests::schema;
use probe502_tests::skip::unable;
use probe502_tests::upstream::Upstream;

/// Far above what any of them takes, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn watch(port: u16, options: &[&str]) -> Result<Agent> {
    Agent::watch(&[&["--port", &port.to_string()], options].concat())
}

fn lines(seen: &[Seen]) -> String {
    seen.iter().map(|seen| seen.line.clone() + "\n").collect()
}

fn of<'a>(report: &'a Report, schema: &str) -> Vec<&'a Seen> {
    let notices = report.notices.iter();
    notices
        .filter(|seen| seen.field("/schema") == schema)
        .collect()
}

#[test]
fn a_failure_that_a_retry_hid_is_a_near_miss() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let (live, dead) = (Upstream::faulty(&[])?, free_port("127.0.0.1")?);
    let upstreams = vec![format!("127.0.0.1:{dead} max_fails=0"), live.addr.clone()];
    let gateway = Nginx::start(&Plan {
        upstreams,
        ..Plan::before("")
    })?;
    let agent = watch(gateway.port(), &["--near-misses"])?;
    for _ in 0..8 {
        ensure!(gateway.get("/ok")?.status == 200);
    }
    let near = |seen: &Seen| seen.field("/attempt/addr").ends_with(&format!(":{dead}"));
    agent.notice(PATIENCE, near).context("no near miss")?;
    let hidden = gateway.log().matches("connect() failed").count();
    let deadline = Instant::now() + PATIENCE;
    while agent.count() < hidden && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let report = agent.finish()?;
    ensure!(report.verdicts.is_empty(), "{}", report.output);
    let nears = of(&report, "probe502.near-miss/1");
    ensure!(
        hidden > 0 && nears.len() == hidden,
        "{hidden} hidden: {}",
        report.output
    );
    for near in nears {
        let right = near.field("/cause") == "listener.absent"
            && near.field("/outcome") == "rescued"
            && near.field("/rescue/addr") == live.addr;
        ensure!(right, "{}", near.line);
    }
    let counted = format!("near misses, rescued by a retry: {hidden} listener.absent");
    ensure!(report.messages.contains(&counted), "{}", report.messages);
    schema::check("near-miss", &lines(&report.notices))
}

/// HAProxy closes a kept client connection empty when a pooled connection dies under its request.
#[test]
fn a_connection_closed_empty_is_a_silent_failure() -> Result<()> {
    if Kind::Haproxy.is_missing() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&["--share", "threads", "--idle", "0.5"])?;
    let gateway = Gateway::before(Kind::Haproxy, &upstream.addr)?;
    let agent = watch(gateway.port(), &["--silent"])?;
    let rule = format!("tcp sport {} tcp flags & fin == fin drop", upstream.port);
    let firewall = Firewall::rule("output", &rule)?;
    let mut client = Client::connect(gateway.addr)?;
    ensure!(client.get("/ok")?.status == 200, "the pool was not warmed");
    upstream.hears("idle-closed")?;
    let path = format!("/fault/ok/{}", next_id());
    let asked = client.post(&path);
    drop(firewall);
    ensure!(asked.is_err(), "the client has an answer: {asked:?}");
    let told = agent.verdict(PATIENCE, |seen| seen.field("/request/path") == path);
    let told = told.with_context(|| format!("no verdict: {}", agent.messages()))?;
    let right = told.field("/kind") == "silent"
        && told.verdict["status"] == 0
        && told.field("/cause") == "keepalive.race"
        && told.field("/confidence") == "proven";
    ensure!(right, "{}", told.line);
    let report = agent.finish()?;
    ensure!(report.verdicts.len() == 1, "{}", report.output);
    schema::check("verdict", &lines(&report.verdicts))
}

/// Eight requests, each on a connection of its own, so that every worker of nginx has its pool.
fn asks(gateway: &Nginx) -> Result<()> {
    for _ in 0..8 {
        let answer = gateway.get(&format!("/idle/{}", next_id()))?;
        ensure!(answer.status == 200, "{}", answer.status);
    }
    Ok(())
}

/// nginx closes its idle connections after 3 s, the second upstream after 1 s: no request has failed yet.
#[test]
fn a_shorter_timer_is_warned_of_before_it_fails_a_request() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let quiet =
        |seconds| Upstream::uvicorn(&["--timeout-keep-alive", seconds, "--log-level", "warning"]);
    let (patient, hasty) = (quiet("75")?, quiet("1")?);
    let upstreams = vec![
        format!("{} max_fails=0; keepalive_timeout 3s", patient.addr),
        format!("{} backup", hasty.addr),
    ];
    let gateway = Nginx::start(&Plan {
        upstreams,
        ..Plan::before("")
    })?;
    let agent = watch(gateway.port(), &["--stories"])?;
    asks(&gateway)?;
    std::thread::sleep(Duration::from_millis(3600));
    drop(patient);
    for _ in 0..2 {
        asks(&gateway)?;
        std::thread::sleep(Duration::from_millis(1600));
    }
    let about = |seen: &Seen| seen.field("/upstream/addr") == hasty.addr;
    let told = agent.notice(PATIENCE, about);
    let told = told.with_context(|| format!("no warning: {}", agent.messages()))?;
    let near = |pointer: &str, expected: u64| {
        let measured = told
            .verdict
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64);
        // A busy machine comes late to its timers.
        measured.is_some_and(|it| (expected * 9 / 10..=expected * 5 / 4).contains(&it))
    };
    let right = near("/timers/upstream_ms", 1000) && near("/timers/gateway_ms", 3000);
    ensure!(right, "{}", told.line);
    ensure!(told.field("/confidence") == "proven", "{}", told.line);
    let report = agent.finish()?;
    ensure!(report.verdicts.is_empty(), "{}", report.output);
    let warnings: Vec<Seen> = of(&report, "probe502.warning/1")
        .into_iter()
        .cloned()
        .collect();
    ensure!(warnings.len() == 1, "{}", report.output);
    schema::check("warning", &lines(&warnings))
}
