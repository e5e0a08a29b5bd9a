//! The agent comes late: what began before it is said to be so, or seen whole, and never guessed at.

use std::time::Duration;

use anyhow::{Result, ensure};
use probe502_tests::client::{self, next_id};
use probe502_tests::nginx::Nginx;
use probe502_tests::running::signal;
use probe502_tests::skip::unable;
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::{Sure, Watch};

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
