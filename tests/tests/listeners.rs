//! Nobody takes the connection: nothing listens, it listens elsewhere, it has stopped listening.

use std::time::Duration;

use anyhow::Result;
use probe502_tests::client::{self, next_id};
use probe502_tests::netns::Netns;
use probe502_tests::nginx::{Nginx, Plan, free_port};
use probe502_tests::running::signal;
use probe502_tests::skip::unable;
use probe502_tests::stage::Stage;
use probe502_tests::upstream::{Upstream, endpoint};
use probe502_tests::watch::{Sure, Watch};

/// A gateway in a namespace of its own, where no other service of this host listens.
fn gateway_in(netns: &Netns, upstream: &str) -> Result<Nginx> {
    let plan = Plan {
        host: netns.host(),
        netns: Some(netns.name.clone()),
        ..Plan::before(upstream)
    };
    Nginx::start(&plan)
}

fn refused(gateway: &Nginx, cause: &str, sure: Sure) -> Result<()> {
    let mut watch = Watch::over(gateway)?;
    let answer = gateway.get(&format!("/refused/{}", next_id()))?;
    watch.expect(&answer, cause, sure);
    watch.end().map(drop)
}

#[test]
fn nothing_listens() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let netns = Netns::make()?;
    let gateway = gateway_in(&netns, &endpoint("127.0.0.1", free_port("127.0.0.1")?))?;
    refused(&gateway, "listener.absent", Sure::Proven)
}

#[test]
fn the_service_listens_on_another_port() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let netns = Netns::make()?;
    let upstream = Upstream::faulty_at(Some(&netns.name), &["--host", "0.0.0.0"])?;
    let gateway = Nginx::before(&endpoint(&netns.host(), upstream.port ^ 1))?;
    // That a container's only listener is the one that was meant is concluded, not seen.
    refused(&gateway, "listener.other-port", Sure::Inferred)
}

#[test]
fn a_neighbour_on_another_port_is_not_taken_for_the_service() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let netns = Netns::make()?;
    let upstream = Upstream::faulty_at(Some(&netns.name), &[])?;
    let gateway = gateway_in(&netns, &endpoint("127.0.0.1", upstream.port ^ 1))?;
    refused(&gateway, "listener.absent", Sure::Proven)
}

#[test]
fn the_service_moved_to_another_port() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&["--share", "threads"])?;
    let other = free_port("127.0.0.1")?;
    stage.upstream.order("close", "closed")?;
    stage.upstream.order(
        &format!("listen {other}"),
        &format!("listening 127.0.0.1 {other}"),
    )?;
    let answer = stage.fault("ok")?;
    stage
        .watch
        .expect(&answer, "listener.other-port", Sure::Proven);
    stage.end()
}

#[test]
fn the_service_listens_on_another_loopback_address() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&["--host", "127.0.0.2"])?;
    let gateway = Nginx::before(&endpoint("127.0.0.1", upstream.port))?;
    refused(&gateway, "listener.other-address", Sure::Proven)
}

#[test]
fn the_service_listens_on_the_other_family() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&["--host", "::1"])?;
    let gateway = Nginx::before(&endpoint("127.0.0.1", upstream.port))?;
    refused(&gateway, "listener.other-address", Sure::Proven)
}

#[test]
fn a_container_whose_service_listens_on_its_loopback() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let netns = Netns::make()?;
    let upstream = Upstream::faulty_at(Some(&netns.name), &[])?;
    let gateway = Nginx::before(&endpoint(&netns.host(), upstream.port))?;
    refused(&gateway, "listener.other-address", Sure::Proven)
}

#[test]
fn its_living_owner_closed_the_listener() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&["--share", "threads"])?;
    stage.upstream.order("close", "closed")?;
    let answer = stage.fault("ok")?;
    stage.watch.expect(&answer, "listener.closed", Sure::Proven);
    stage.end()
}

#[test]
fn uvicorn_closes_its_listener_while_it_drains() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::of(Upstream::uvicorn(&[])?)?;
    let slow = client::in_background(stage.gateway.addr, format!("/sleep/{}", next_id()));
    std::thread::sleep(Duration::from_millis(500));
    signal(stage.upstream.running.pid(), "TERM")?;
    std::thread::sleep(Duration::from_millis(500));
    let answer = stage.gateway.get(&format!("/draining/{}", next_id()))?;
    stage.watch.expect(&answer, "listener.closed", Sure::Proven);
    anyhow::ensure!(client::joined(slow)?.status == 200, "uvicorn did not drain");
    stage.end()
}

#[test]
fn the_listener_closed_with_the_connection_in_its_queue() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&["--share", "threads", "--never-accept"])?;
    let queued = client::in_background(stage.gateway.addr, format!("/queued/{}", next_id()));
    std::thread::sleep(Duration::from_millis(300));
    stage.upstream.order("close", "closed")?;
    let answer = client::joined(queued)?;
    stage
        .watch
        .expect(&answer, "listener.closed-queued", Sure::Proven);
    stage.end()
}
