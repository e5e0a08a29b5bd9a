//! The error that the gateway did not make: the upstream's own, or that of earlier failures.

use anyhow::{Result, ensure};
use probe502_tests::client::next_id;
use probe502_tests::nginx::{Nginx, Plan, free_port};
use probe502_tests::schema;
use probe502_tests::skip::unable;
use probe502_tests::stage::Stage;
use probe502_tests::upstream::{Upstream, endpoint};
use probe502_tests::watch::{Sure, Watch};

#[test]
fn the_upstream_itself_says_502() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("says-502")
}

#[test]
fn a_pooled_connection_relays_again_and_again() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&[])?;
    let mut client = stage.gateway.client()?;
    for _ in 0..3 {
        let answer = client.get(&format!("/fault/says-502/{}", next_id()))?;
        stage
            .watch
            .expect(&answer, "relayed.upstream", Sure::Proven);
        ensure!(client.get("/ok")?.status == 200);
    }
    stage.end()
}

#[test]
fn a_gateway_behind_a_gateway() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let inner = Nginx::before(&upstream.addr)?;
    let outer = Nginx::before(&inner.addr.to_string())?;
    let mut watch = Watch::over(&outer)?;
    let answer = outer.get(&format!("/fault/close-without-answer/{}", next_id()))?;
    // `--port` matches either side: the inner gateway's own answer is not on the outer's port.
    watch.expect(&answer, "relayed.upstream", Sure::Proven);
    watch.end().map(drop)
}

#[test]
fn every_upstream_is_marked_down() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let dead = || -> Result<String> { Ok(endpoint("127.0.0.1", free_port("127.0.0.1")?)) };
    let gateway = Nginx::start(&Plan {
        upstreams: vec![dead()?, dead()?],
        ..Plan::before("")
    })?;
    let mut watch = Watch::over(&gateway)?;
    // One client connection is one worker, and each worker counts failures for itself.
    let mut client = gateway.client()?;
    let first = client.get(&format!("/first/{}", next_id()))?;
    watch.expect_one_of(
        &first,
        &["listener.absent", "listener.other-port"],
        Sure::Inferred,
    );
    let second = client.get(&format!("/second/{}", next_id()))?;
    if let Some(seen) = watch.expect(&second, "proxy.no-live-upstream", Sure::Inferred) {
        let failures = seen.verdict["failures"].as_array();
        let why = failures.and_then(|all| all.first()?["cause"].as_str());
        ensure!(
            why.is_some_and(|why| why.starts_with("listener.")),
            "{}",
            seen.line
        );
        schema::check("verdict", &(seen.line + "\n"))?;
    }
    ensure!(
        gateway.log().contains("no live upstreams"),
        "nginx tried again: {}",
        gateway.log()
    );
    watch.end().map(drop)
}
