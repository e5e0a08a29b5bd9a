//! Nobody takes the connection: nothing listens, it listens elsewhere, it has stopped listening.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use probe502_tests::agent::Agent;
use probe502_tests::client::{self, Client, next_id};
use probe502_tests::gateways::{Gateway, Kind, Plan as Wishes, Server, Site};
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
    ensure!(client::joined(slow)?.status == 200, "uvicorn did not drain");
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

const HOST: &str = "127.0.0.1";
/// A busy host may run this process again only when the verdict is told: then nothing had listened.
const TRIES: usize = 12;

/// Each site's only server begins to listen as its first request has failed.
fn listens_too_late(kind: Kind) -> Result<()> {
    if kind.is_missing() {
        return Ok(());
    }
    let dead = || Ok(endpoint(HOST, free_port(HOST)?));
    let servers = (0..TRIES).map(|_| dead()).collect::<Result<Vec<_>>>()?;
    let site = |server: &String| Site::on(HOST, vec![Server::Tcp(server.clone())]);
    let sites = servers.iter().map(site).collect::<Result<Vec<_>>>()?;
    let doors: Vec<_> = sites.iter().map(|site| site.addr).collect();
    let ports: Vec<String> = doors.iter().map(|door| door.port().to_string()).collect();
    let gateway = Gateway::start(
        kind,
        &Wishes {
            sites,
            ..Wishes::default()
        },
    )?;
    let options = ["--status", "502,503", "--port", &ports.join(",")];
    let mut watch = Watch::on(gateway.port(), &options)?;
    for (server, door) in servers.iter().zip(doors) {
        let answer = Client::connect(door)?.get(&format!("/early/{}", next_id()))?;
        let _listener = TcpListener::bind(server)?;
        let causes = ["listener.not-ready", "listener.absent"];
        let seen = watch.expect_one_of(&answer, &causes, Sure::Proven);
        if seen.is_none_or(|seen| seen.field("/cause") == causes[0]) {
            return watch.end().map(drop);
        }
    }
    bail!("listener.not-ready was never told")
}

#[test]
fn a_listener_comes_just_after_nginx_had_dialled() -> Result<()> {
    listens_too_late(Kind::Nginx)
}

#[test]
fn a_listener_comes_just_after_envoy_had_dialled() -> Result<()> {
    listens_too_late(Kind::Envoy)
}

/// A near miss is judged a second later than a failed answer: there a server may take longer to start.
fn starts_behind_a_live_one() -> Result<String> {
    let (live, late) = (Upstream::faulty(&[])?, endpoint(HOST, free_port(HOST)?));
    let upstreams = vec![late.clone(), live.addr.clone()];
    let gateway = Nginx::start(&Plan {
        upstreams,
        ..Plan::before("")
    })?;
    let agent = Agent::watch(&["--port", &gateway.port().to_string(), "--near-misses"])?;
    ensure!(gateway.get("/ok")?.status == 200, "not tried again");
    std::thread::sleep(Duration::from_millis(300));
    let _listener = TcpListener::bind(&late)?;
    let near = agent.notice(Duration::from_secs(20), |seen| {
        seen.field("/attempt/addr") == late
    });
    let near = near.context("no near miss")?;
    ensure!(near.field("/outcome") == "rescued", "{}", near.line);
    agent.finish()?;
    Ok(near.field("/cause").to_owned())
}

#[test]
fn a_server_starts_while_another_answers_for_it() -> Result<()> {
    if unable() {
        return Ok(());
    }
    for _ in 0..4 {
        match starts_behind_a_live_one()?.as_str() {
            "listener.not-ready" => return Ok(()),
            "listener.absent" => {}
            other => bail!("{other}"),
        }
    }
    bail!("listener.not-ready was never told")
}
