//! What lies between the gateway and its upstream: routes, queues, firewalls, silence, translation.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use probe502_tests::client::{self, next_id};
use probe502_tests::firewall::Firewall;
use probe502_tests::netns::Netns;
use probe502_tests::nginx::{Nginx, Plan};
use probe502_tests::route::Route;
use probe502_tests::running::Running;
use probe502_tests::skip::unable;
use probe502_tests::upstream::{Upstream, programs};
use probe502_tests::watch::{Sure, Watch};

const STATUSES: [&str; 2] = ["--status", "500,502,503,504"];

/// 198.19.0.0/16 is for tests of network devices (RFC 2544): nobody's real network.
const NOWHERE: &str = "198.19.77.1";

#[test]
fn a_route_that_refuses() -> Result<()> {
    if unable() {
        return Ok(());
    }
    for way in ["unreachable", "prohibit", "blackhole"] {
        let _route = Route::refusing(way, NOWHERE)?;
        fails(
            &format!("{NOWHERE}:8000"),
            "net.unreachable.route",
            Sure::Proven,
        )?;
    }
    Ok(())
}

#[test]
fn a_neighbour_that_does_not_answer() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let netns = Netns::make()?;
    let absent = format!("{}:8000", netns.absent()?);
    fails(&absent, "net.unreachable.host", Sure::Proven)
}

#[test]
fn a_router_that_says_so() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let netns = Netns::make()?;
    let _route = Route::through(&netns, NOWHERE)?;
    fails(
        &format!("{NOWHERE}:8000"),
        "net.unreachable.icmp",
        Sure::Proven,
    )
}

#[test]
fn a_way_that_swallows_packets() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let netns = Netns::make()?;
    let _route = Route::nowhere(&netns, NOWHERE)?;
    fails(&format!("{NOWHERE}:8000"), "net.lost", Sure::Inferred)
}

#[test]
fn a_firewall_drops_the_syn() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    for hook in ["input", "output"] {
        let _firewall = Firewall::rule(hook, &format!("tcp dport {} drop", upstream.port))?;
        fails(&upstream.addr, "net.filtered.drop", Sure::Proven)?;
    }
    Ok(())
}

#[test]
fn a_firewall_drops_the_request_on_a_connection_in_use() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&["--share", "threads"])?;
    let gateway = Nginx::before(&upstream.addr)?;
    let mut watch = Watch::with(&gateway, &STATUSES)?;
    // One client connection has one worker, and that worker's pool.
    let mut client = gateway.client()?;
    client.get(&format!("/fault/ok/{}", next_id()))?;
    let rule = format!("tcp dport {} drop", upstream.port);
    let _firewall = Firewall::rule("input", &rule)?;
    let answer = client.post(&format!("/fault/ok/{}", next_id()))?;
    watch.expect(&answer, "net.filtered.drop", Sure::Proven);
    watch.end().map(drop)
}

#[test]
fn the_accept_queue_is_full() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&["--never-accept", "--backlog", "2"])?;
    // A queue holds one more than its limit.
    let queued: Vec<TcpStream> = (0..3)
        .map(|_| TcpStream::connect(&upstream.addr))
        .collect::<Result<_, _>>()?;
    fails(&upstream.addr, "listener.backlog-full", Sure::Proven)?;
    drop(queued);
    Ok(())
}

/// The SYN finds room in the queue, and what follows it none: the host is told to answer with a RST then.
#[test]
fn the_accept_queue_fills_within_the_handshake_and_resets() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let netns = Netns::make()?;
    netns.run(&["sysctl", "-qw", "net.ipv4.tcp_abort_on_overflow=1"])?;
    let (host, router) = (netns.host(), netns.router());
    let options = ["--host", &host, "--never-accept", "--backlog", "1"];
    let upstream = Upstream::faulty_at(Some(&netns.name), &options)?;
    let gateway = Nginx::before(&upstream.addr)?;
    let mut watch = Watch::with(&gateway, &STATUSES)?;
    let held = format!(
        "table inet held {{\nchain held {{\ntype filter hook input priority 0\n\
         ip saddr {router} tcp dport {} tcp flags & syn == 0 drop\n}}\n}}",
        upstream.port
    );
    netns.run(&["nft", &held])?;
    let asked = client::in_background(gateway.addr, format!("/full/{}", next_id()));
    std::thread::sleep(Duration::from_millis(200));
    let program = programs().join("dials.py").display().to_string();
    // A queue holds one more than its limit.
    let fillers = netns.start(&["python3", "-B", &program, &upstream.addr, "2"])?;
    let full = fillers
        .out
        .wait(Duration::from_secs(10), |line| line == "dialled 2");
    ensure!(full.is_some(), "{}", fillers.err.text());
    netns.run(&["nft", "flush ruleset"])?;
    let answer = client::joined(asked)?;
    let seen = watch.expect(&answer, "listener.backlog-full", Sure::Proven);
    // On a busy host even the SYN may come too late.
    let symptom = seen.map(|seen| seen.field("/symptom").to_owned());
    let is_reset = symptom.is_none_or(|symptom| symptom == "reset");
    ensure!(is_reset || answer.status == 504, "not reset");
    watch.end().map(drop)
}

#[test]
fn a_translated_address_that_refuses_closes_and_answers() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let netns = Netns::make()?;
    let upstream = Upstream::faulty_at(Some(&netns.name), &["--host", &netns.host()])?;
    // The gateway dials from the address of its default route.
    let router = netns.router();
    netns.run(&["ip", "route", "add", "default", "via", &router])?;
    let to = |target: &str| Translation::of(NOWHERE, target);
    {
        let _translation = to(&upstream.addr)?;
        let gateway = Nginx::before(&format!("{NOWHERE}:80"))?;
        let mut watch = Watch::with(&gateway, &STATUSES)?;
        for (fault, cause) in [
            ("close-without-answer", "app.closed-without-answer"),
            ("exit-early", "process.exit"),
            ("says-502", "relayed.upstream"),
        ] {
            let answer = gateway.get(&format!("/fault/{fault}/{}", next_id()))?;
            let seen = watch.expect(&answer, cause, Sure::Proven);
            let real = seen.map(|seen| seen.field("/upstream/real").to_owned());
            ensure!(
                fault == "says-502" || real.is_none_or(|real| real == upstream.addr),
                "{fault}"
            );
        }
        watch.end()?;
    }
    let _translation = to(&format!("{}:9", netns.host()))?;
    fails(
        &format!("{NOWHERE}:80"),
        "listener.other-port",
        Sure::Inferred,
    )
}

#[test]
fn no_local_port_is_left() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let netns = Netns::make()?;
    let upstream = Upstream::faulty_at(Some(&netns.name), &[])?;
    netns.run(&["sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40003"])?;
    let program = programs().join("dials.py").display().to_string();
    let holder = netns.start(&["python3", "-B", &program, &upstream.addr, "4"])?;
    let dialled = holder
        .out
        .wait(Duration::from_secs(10), |line| line == "dialled 4");
    ensure!(dialled.is_some(), "{}", holder.err.text());
    let gateway = Nginx::start(&Plan {
        host: netns.host(),
        netns: Some(netns.name.clone()),
        ..Plan::before(&upstream.addr)
    })?;
    answers(&gateway, "proxy.ports-exhausted", Sure::Proven)
}

#[test]
fn a_reset_that_the_upstream_did_not_send() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&["--share", "threads"])?;
    let gateway = Nginx::before(&upstream.addr)?;
    let mut watch = Watch::with(&gateway, &STATUSES)?;
    let mut command = Command::new("/usr/bin/python3");
    command.arg("-B").arg(programs().join("forge.py"));
    let forger = Running::start(command.arg(upstream.port.to_string()))?;
    let ready = forger
        .out
        .wait(Duration::from_secs(10), |line| line == "listening");
    ensure!(ready.is_some(), "{}", forger.err.text());
    let answer = gateway.post(&format!("/fault/hold/{}", next_id()))?;
    watch.expect(&answer, "net.reset-by-middlebox", Sure::Inferred);
    watch.end().map(drop)
}

/// One request to an upstream that cannot be reached.
fn fails(upstream: &str, cause: &str, sure: Sure) -> Result<()> {
    answers(&Nginx::before(upstream)?, cause, sure)
}

fn answers(gateway: &Nginx, cause: &str, sure: Sure) -> Result<()> {
    let mut watch = Watch::with(gateway, &STATUSES)?;
    let answer = gateway.get(&format!("/between/{}", next_id()))?;
    watch.expect(&answer, cause, sure);
    watch.end().map(drop)
}

/// A destination that nftables translates, as a Service's address is.
struct Translation(String);

impl Translation {
    fn of(from: &str, to: &str) -> Result<Self> {
        let table = format!("probe502_nat_{}_{}", std::process::id(), next_id());
        let rules = format!(
            "table ip {table} {{\nchain output {{\ntype nat hook output priority -100\n\
             ip daddr {from} tcp dport 80 dnat to {to}\n}}\n}}"
        );
        let status = Command::new("nft").arg(rules).status()?;
        ensure!(status.success(), "nft refused the translation");
        Ok(Self(table))
    }
}

impl Drop for Translation {
    fn drop(&mut self) {
        let _ = Command::new("nft")
            .args(["delete", "table", "ip", &self.0])
            .status();
    }
}
