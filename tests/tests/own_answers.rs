//! Answers that no attempt preceded: the gateway's own rule, or nobody alive to ask.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use probe502_tests::agent::Seen;
use probe502_tests::client::{Client, next_id};
use probe502_tests::gateways::{Gateway, Kind, Plan, Server, Site};
use probe502_tests::nginx::free_port;
use probe502_tests::upstream::{Upstream, endpoint};
use probe502_tests::watch::{Sure, Watch};

const STATUSES: [&str; 2] = ["--status", "502,503"];
const LOST: &str = "unknown.evidence-lost";
const HOST: &str = "127.0.0.1";

/// A site that asks nobody, and one that does, behind one gateway.
struct Doors {
    watch: Watch,
    gateway: Gateway,
    asking: SocketAddr,
    _upstream: Upstream,
}

fn doors(kind: Kind) -> Result<Doors> {
    let upstream = Upstream::faulty(&[])?;
    let mut ruled = Site::on(HOST, vec![Server::Tcp(upstream.addr.clone())])?;
    ruled.rule = Some(503);
    let asking = Site::on(HOST, vec![Server::Tcp(upstream.addr.clone())])?;
    // The agent first: it has then seen all that the gateway ever did.
    let watch = Watch::on(ruled.addr.port(), &STATUSES)?;
    let door = asking.addr;
    let plan = Plan {
        sites: vec![ruled, asking],
        ..Plan::default()
    };
    Ok(Doors {
        watch,
        gateway: Gateway::start(kind, &plan)?,
        asking: door,
        _upstream: upstream,
    })
}

/// What the site that asks somebody does is not the other's.
fn rules(kind: Kind) -> Result<()> {
    if kind.is_missing() {
        return Ok(());
    }
    let mut doors = doors(kind)?;
    let gateway = &doors.gateway;
    let other = Client::connect(doors.asking)?.get("/ok")?;
    ensure!(other.status == 200, "{}: {}", other.status, gateway.log());
    known(&mut doors.watch, gateway, "proxy.own-answer")?;
    doors.watch.end().map(drop)
}

/// Answers of that cause, of which one must be known: on a crowded host records are lost, or an answer
/// waits too long for its turn, and says so.
fn known(watch: &mut Watch, gateway: &Gateway, cause: &str) -> Result<()> {
    let honest = [cause, "unknown.unexplained", LOST];
    let mut count = 0;
    for _ in 0..4 {
        let answer = gateway.get(&format!("/nobody/{}", next_id()))?;
        let seen = watch.expect_one_of(&answer, &honest, Sure::Honest);
        let is_told = |seen: Seen| [cause, LOST].contains(&seen.field("/cause"));
        count += usize::from(seen.is_none_or(is_told));
    }
    ensure!(count > 0 || !watch.complaints().is_empty(), "never {cause}");
    Ok(())
}

#[test]
fn a_rule_of_nginx() -> Result<()> {
    rules(Kind::Nginx)
}

#[test]
fn a_rule_of_haproxy() -> Result<()> {
    rules(Kind::Haproxy)
}

#[test]
fn a_rule_of_apache() -> Result<()> {
    rules(Kind::Apache)
}

#[test]
fn a_rule_of_caddy() -> Result<()> {
    rules(Kind::Caddy)
}

#[test]
fn a_rule_of_envoy() -> Result<()> {
    rules(Kind::Envoy)
}

/// What an upstream said may have failed a health check: then nothing is claimed of the rule.
#[test]
fn a_rule_after_an_upstreams_error() -> Result<()> {
    if Kind::Nginx.is_missing() {
        return Ok(());
    }
    let mut doors = doors(Kind::Nginx)?;
    let gateway = &doors.gateway;
    let path = format!("/fault/says-502/{}", next_id());
    let other = Client::connect(doors.asking)?.get(&path)?;
    ensure!(other.status == 502, gateway.log());
    let answer = gateway.get(&format!("/ruled/{}", next_id()))?;
    let unknown = ["unknown.unexplained", LOST];
    doors.watch.expect_one_of(&answer, &unknown, Sure::Unknown);
    doors.watch.end().map(drop)
}

fn dead() -> Result<Server> {
    Ok(Server::Tcp(endpoint(HOST, free_port(HOST)?)))
}

/// A gateway of two servers where nobody listens, and who watches it.
fn before_the_dead(kind: Kind, marks_down: bool) -> Result<(Watch, Gateway)> {
    let site = Site::on(HOST, vec![dead()?, dead()?])?;
    let watch = Watch::on(site.addr.port(), &STATUSES)?;
    let plan = Plan {
        sites: vec![site],
        marks_down,
        ..Plan::default()
    };
    Ok((watch, Gateway::start(kind, &plan)?))
}

/// A new server goes down with the first check that fails; the second shows that each had its turn. And
/// none is due just then: a dial within a request looks like its own.
const TWO_ROUNDS: Duration = Duration::from_millis(1300);

fn until_nobody_is_left(gateway: &Gateway) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !gateway.log().contains("has no server available") {
        ensure!(Instant::now() < deadline, gateway.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Health checks have found nobody alive before the first request comes.
fn checks_find_nobody(kind: Kind) -> Result<()> {
    if kind.is_missing() {
        return Ok(());
    }
    let (mut watch, gateway) = before_the_dead(kind, false)?;
    until_nobody_is_left(&gateway)?;
    std::thread::sleep(TWO_ROUNDS);
    known(&mut watch, &gateway, "proxy.no-live-upstream")?;
    watch.end().map(drop)
}

/// A gateway of a site that lives, beside one where nobody listens, which its checks have found; and who
/// watches the first.
fn beside_the_dead(kind: Kind, checks: Option<Duration>) -> Result<(Watch, Gateway, Upstream)> {
    let upstream = Upstream::faulty(&[])?;
    let alive = || Server::Tcp(upstream.addr.clone());
    let site = Site::on(HOST, vec![alive(), alive()])?;
    let watch = Watch::on(site.addr.port(), &STATUSES)?;
    let plan = Plan {
        sites: vec![site, Site::on(HOST, vec![dead()?, dead()?])?],
        checks,
        ..Plan::default()
    };
    let gateway = Gateway::start(kind, &plan)?;
    until_nobody_is_left(&gateway)?;
    Ok((watch, gateway, upstream))
}

/// What a rule refuses, nothing is claimed of.
fn is_refused(watch: &mut Watch, gateway: &Gateway, times: usize) -> Result<()> {
    for _ in 0..times {
        let answer = gateway.get(&format!("/denied/{}", next_id()))?;
        let unknown = ["unknown.unexplained", LOST];
        watch.expect_one_of(&answer, &unknown, Sure::Unknown);
    }
    Ok(())
}

/// A rule refuses in the very words that `HAProxy` has for want of a server.
fn refuses_beside_the_dead(kind: Kind) -> Result<()> {
    if kind.is_missing() {
        return Ok(());
    }
    let (mut watch, gateway, _alive) = beside_the_dead(kind, None)?;
    is_refused(&mut watch, &gateway, 3)?;
    watch.end().map(drop)
}

/// Its checks of dead servers fall within requests that a rule refuses: those dials are not the requests'.
fn checks_amid_requests(kind: Kind) -> Result<()> {
    if kind.is_missing() {
        return Ok(());
    }
    let often = Duration::from_millis(50);
    let (mut watch, gateway, _alive) = beside_the_dead(kind, Some(often))?;
    std::thread::sleep(TWO_ROUNDS);
    is_refused(&mut watch, &gateway, 150)?;
    watch.end().map(drop)
}

#[test]
fn checks_of_haproxy_are_no_requests_dials() -> Result<()> {
    checks_amid_requests(Kind::Haproxy)
}

#[test]
fn a_refusal_of_haproxy_is_not_for_want_of_a_server() -> Result<()> {
    refuses_beside_the_dead(Kind::Haproxy)
}

#[test]
fn a_refusal_of_haproxy_3_is_not_for_want_of_a_server() -> Result<()> {
    refuses_beside_the_dead(Kind::HaproxyTrixie)
}

#[test]
fn checks_of_haproxy_find_nobody() -> Result<()> {
    checks_find_nobody(Kind::Haproxy)
}

#[test]
fn checks_of_haproxy_3_find_nobody() -> Result<()> {
    checks_find_nobody(Kind::HaproxyTrixie)
}

/// Both servers are refused, and are left alone from then on.
fn leaves_them_alone(kind: Kind, dialled: usize) -> Result<()> {
    if kind.is_missing() {
        return Ok(());
    }
    let (mut watch, gateway) = before_the_dead(kind, true)?;
    for _ in 0..dialled {
        let answer = gateway.get(&format!("/dialled/{}", next_id()))?;
        let causes = ["listener.absent", "listener.other-port", LOST];
        watch.expect_one_of(&answer, &causes, Sure::Honest);
    }
    known(&mut watch, &gateway, "proxy.no-live-upstream")?;
    watch.end().map(drop)
}

/// Its balancer tries both for one request.
#[test]
fn apache_leaves_them_alone() -> Result<()> {
    leaves_them_alone(Kind::Apache, 1)
}

#[test]
fn caddy_leaves_them_alone() -> Result<()> {
    leaves_them_alone(Kind::Caddy, 2)
}

/// Longer than its connect timeout: so soon it checks no peer again.
const CHECKED_AGAIN: Duration = Duration::from_millis(2600);

/// Squid dials its dead peers on its own account as a request comes, those of other sites too, and asks none.
#[test]
fn squids_own_dials_are_no_attempts() -> Result<()> {
    if Kind::Squid.is_missing() {
        return Ok(());
    }
    let other = endpoint(HOST, free_port(HOST)?);
    let own = Site::on(HOST, vec![dead()?])?;
    let mut watch = Watch::on(own.addr.port(), &STATUSES)?;
    let sites = vec![own, Site::on(HOST, vec![Server::Tcp(other.clone())])?];
    let plan = Plan {
        sites,
        ..Plan::default()
    };
    let gateway = Gateway::start(Kind::Squid, &plan)?;
    for _ in 0..2 {
        std::thread::sleep(CHECKED_AGAIN);
        let answer = gateway.get(&format!("/dead/{}", next_id()))?;
        // 503 is its word for a dial that failed.
        let cause = if answer.status == 503 {
            "listener.absent"
        } else {
            "proxy.no-live-upstream"
        };
        let honest = [cause, "unknown.unexplained", LOST];
        let seen = watch.expect_one_of(&answer, &honest, Sure::Honest);
        let is_others = seen.is_some_and(|seen| seen.field("/upstream/addr") == other);
        ensure!(!is_others, "the other site's peer was blamed");
    }
    watch.end().map(drop)
}
