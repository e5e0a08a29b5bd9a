//! The agent comes late, or hears less than it could: that is said, or the rest is enough, and never guessed at.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::{Agent, binary};
use probe502_tests::cgroup::Contained;
use probe502_tests::client::{self, next_id};
use probe502_tests::gateways::{Gateway, Kind, Plan, Server, Site};
use probe502_tests::nginx::{Nginx, free_port};
use probe502_tests::running::signal;
use probe502_tests::skip::unable;
use probe502_tests::upstream::{Upstream, endpoint};
use probe502_tests::watch::{Sure, Watch, is_about};

/// Both ends of the connection, and the client's, are older than the agent.
fn under_way(fault: &str, act: impl FnOnce(u32) -> Result<()>, cause: &str) -> Result<()> {
    let upstream = Upstream::faulty(&[])?;
    let gateway = Nginx::before(&upstream.addr)?;
    let id = next_id();
    let asked = client::in_background(gateway.addr, format!("/fault/{fault}/{id}"));
    let holder = upstream.holder(id)?;
    let mut watch = Watch::over(&gateway)?;
    act(holder)?;
    let answer = client::joined(asked)?;
    watch.expect_one_of(&answer, &[cause, "unknown.attached-late"], Sure::Honest);
    watch.end().map(drop)
}

#[test]
fn a_request_that_was_under_way_when_its_worker_was_killed() -> Result<()> {
    if unable() {
        return Ok(());
    }
    under_way("hold", |pid| signal(pid, "KILL"), "process.killed.by-user")
}

#[test]
fn a_request_that_was_under_way_when_its_worker_closed() -> Result<()> {
    if unable() {
        return Ok(());
    }
    // It closes only once the agent watches, however long that takes.
    under_way(
        "hold-till-told",
        |pid| signal(pid, "WINCH"),
        "app.closed-without-answer",
    )
}

#[test]
fn a_pooled_connection_from_before() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&["--share", "threads"])?;
    let gateway = Nginx::before(&upstream.addr)?;
    let mut client = gateway.client()?;
    ensure!(client.get("/ok")?.status == 200);
    let mut watch = Watch::over(&gateway)?;
    // The whole request is seen: only the connection is older.
    let answer = client.post(&format!("/fault/close-without-answer/{}", next_id()))?;
    watch.expect(&answer, "app.closed-without-answer", Sure::Proven);
    watch.end().map(drop)
}

#[test]
fn a_listener_and_a_process_from_before() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut upstream = Upstream::faulty(&["--share", "threads"])?;
    let gateway = Nginx::before(&upstream.addr)?;
    let mut watch = Watch::over(&gateway)?;
    upstream.running.end("TERM", Duration::from_secs(5))?;
    let answer = gateway.get(&format!("/fault/ok/{}", next_id()))?;
    watch.expect(&answer, "process.killed.by-user", Sure::Proven);
    watch.end().map(drop)
}

/// In a container without the host's cgroups no hook tells of packets and of sockets that are made: that
/// nobody was asked cannot be said, and whom a dial did not find can.
fn hears_less(kind: Kind) -> Result<()> {
    if kind.is_missing() {
        return Ok(());
    }
    const HOST: &str = "127.0.0.1";
    let dead = endpoint(HOST, free_port(HOST)?);
    let site = || Site::on(HOST, vec![Server::Tcp(dead.clone())]);
    let mut ruled = site()?;
    ruled.rule = Some(503);
    let sites = vec![ruled, site()?];
    let doors: Vec<_> = sites.iter().map(|site| site.addr).collect();
    let gateway = Gateway::start(
        kind,
        &Plan {
            sites,
            ..Plan::default()
        },
    )?;
    let contained = Contained::default();
    let ports = format!("{},{}", doors[0].port(), doors[1].port());
    let options = ["--port", &ports, "--status", "502,503"];
    let agent = Agent::watch_by(contained.command(&binary()?), &options)?;
    // On a crowded host records are lost.
    let lost = "unknown.evidence-lost";
    for (door, cause) in doors
        .iter()
        .zip(["unknown.hook-missing", "listener.absent"])
    {
        let answer = client::Client::connect(*door)?.get(&format!("/less/{}", next_id()))?;
        let told = agent.verdict(Duration::from_secs(20), |seen| is_about(seen, &answer));
        let told = told.with_context(|| format!("no verdict: {}", agent.messages()))?;
        ensure!(
            [cause, lost].contains(&told.field("/cause")),
            "{}",
            told.line
        );
    }
    let report = agent.finish()?;
    drop(gateway);
    ensure!(report.verdicts.len() == 2, "{}", report.output);
    Ok(())
}

#[test]
fn hooks_are_missing_beside_nginx() -> Result<()> {
    hears_less(Kind::Nginx)
}

#[test]
fn hooks_are_missing_beside_haproxy() -> Result<()> {
    hears_less(Kind::Haproxy)
}
