//! Two idle timers collide on a pooled connection.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use probe502_tests::client::{Answer, Client, next_id};
use probe502_tests::firewall::Firewall;
use probe502_tests::gateways::{Gateway, Kind, Plan, Server, Site};
use probe502_tests::lateness::Lateness;
use probe502_tests::netns::Netns;
use probe502_tests::route::Route;
use probe502_tests::running::Running;
use probe502_tests::skip::{say, unable};
use probe502_tests::stage::Stage;
use probe502_tests::upstream::{Upstream, programs};
use probe502_tests::watch::{Sure, Watch};

/// The upstream closes its idle connection, its FIN is lost on the way, and the next request goes out.
fn with_the_fin_in_flight(stage: &Stage, client: &mut Client) -> Result<Firewall> {
    // Before the timer runs: on a crowded host it is the faster one.
    let rule = format!(
        "tcp sport {} tcp flags & fin == fin drop",
        stage.upstream.port
    );
    let firewall = Firewall::rule("output", &rule)?;
    ensure!(client.get("/ok")?.status == 200, "the pool was not warmed");
    stage.upstream.hears("idle-closed")?;
    Ok(firewall)
}

/// A POST, which nginx does not try again, meets the FIN of an upstream started so.
fn a_post_meets_the_fin_of(upstream: &[&str]) -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(upstream)?;
    let mut client = stage.gateway.client()?;
    let firewall = with_the_fin_in_flight(&stage, &mut client)?;
    let answer = client.post(&format!("/fault/ok/{}", next_id()))?;
    drop(firewall);
    stage.watch.expect(&answer, "keepalive.race", Sure::Proven);
    stage.end()
}

#[test]
fn a_post_meets_the_fin_in_flight() -> Result<()> {
    a_post_meets_the_fin_of(&["--share", "threads", "--idle", "0.5"])
}

#[test]
fn a_process_that_leaves_with_its_idle_connection() -> Result<()> {
    a_post_meets_the_fin_of(&["--idle", "0.5"])
}

#[test]
fn a_get_is_retried_and_has_no_verdict() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let stage = Stage::faulty(&["--share", "threads", "--idle", "0.5"])?;
    let mut client = stage.gateway.client()?;
    let _firewall = with_the_fin_in_flight(&stage, &mut client)?;
    let answer = client.get(&format!("/fault/ok/{}", next_id()))?;
    ensure!(
        answer.status == 200,
        "nginx did not try again: {}",
        answer.status
    );
    stage.end()
}

/// The gateway lets its idle connections go after three seconds, the upstream after one; each has done so
/// once where nothing met it.
#[test]
fn a_race_behind_two_measured_timers_has_both_numbers() -> Result<()> {
    if Kind::Nginx.is_missing() {
        return Ok(());
    }
    let (keeps, idles) = (Duration::from_secs(3), Duration::from_secs(1));
    let slow = Upstream::faulty(&["--share", "threads"])?;
    let hasty = Upstream::faulty(&["--share", "threads", "--idle", "1"])?;
    let site = |one: &Upstream| Site::on("127.0.0.1", vec![Server::Tcp(one.addr.clone())]);
    let plan = Plan {
        sites: vec![site(&hasty)?, site(&slow)?],
        keeps: Some(keeps),
        ..Plan::default()
    };
    let gateway = Gateway::start(Kind::Nginx, &plan)?;
    let mut watch = Watch::on(gateway.port(), &[])?;
    let lateness = Lateness::watch();
    let good = |client: &mut Client| -> Result<()> {
        ensure!(client.get("/ok")?.status == 200, "a good request failed");
        Ok(())
    };
    good(&mut Client::connect(gateway.sites[1].addr)?)?;
    let mut client = gateway.client()?;
    good(&mut client)?;
    std::thread::sleep(keeps + Duration::from_millis(700));
    hasty.hears("idle-closed")?;
    let rule = format!("tcp sport {} tcp flags & fin == fin drop", hasty.port);
    let firewall = Firewall::rule("output", &rule)?;
    let said = hasty.running.out.all().len();
    good(&mut client)?;
    let closed = |line: &str| line == "idle-closed";
    let patience = Duration::from_secs(10);
    let again = hasty.running.out.wait_behind(said, patience, closed);
    again.context("the upstream kept its idle connection")?;
    let answer = client.post(&format!("/fault/ok/{}", next_id()))?;
    drop(firewall);
    let seen = watch.expect(&answer, "keepalive.race", Sure::Proven);
    watch.end()?;
    let Some(seen) = seen else { return Ok(()) };
    lateness.is_near(&seen, "/timers/upstream_ms", idles)?;
    lateness.is_near(&seen, "/timers/gateway_ms", keeps)?;
    let (sentence, remedy) = (seen.field("/sentence"), seen.field("/remedy"));
    ensure!(sentence.contains("keeps idle ones for "), "{sentence}");
    ensure!(remedy.contains("above the gateway's "), "{remedy}");
    Ok(())
}

const CLIENTS: u32 = 24;
const ROUNDS: u32 = 6;
/// So many waves of all clients without a race are no chance.
const WAVES: u32 = 12;

/// Requests about as far apart as uvicorn's timer is long, until one arrives as it closes. A busy host
/// comes late to timers and closes: what then lay unread may stay unknown, and nothing else may be claimed.
#[test]
fn uvicorns_timer_against_nginxs_pool() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::of(Upstream::uvicorn(&[
        "--timeout-keep-alive",
        "1",
        "--log-level",
        "warning",
    ])?)?;
    // The timer strikes once where nothing meets it: it shows its length.
    ensure!(stage.gateway.get("/ready")?.status == 200, "no answer");
    std::thread::sleep(Duration::from_millis(1500));
    let mut named = 0;
    for wave in 1..=WAVES {
        let failed = wave_of(stage.gateway.addr)?;
        say(&format!("{} natural races in wave {wave}", failed.len()));
        for answer in &failed {
            let causes = ["keepalive.race", "unknown.unexplained"];
            let seen = stage.watch.expect_one_of(answer, &causes, Sure::Honest);
            named += u32::from(seen.is_none_or(|seen| seen.field("/cause") == causes[0]));
        }
        if named > 0 {
            break;
        }
    }
    ensure!(named > 0, "no request met the timer, or none was told");
    stage.end()
}

/// All clients at once; the answers that failed.
fn wave_of(gateway: SocketAddr) -> Result<Vec<Answer>> {
    let idle = |client: u32| Duration::from_micros(1_000_000 + u64::from(client) * 25);
    let race = |client| std::thread::spawn(move || idling(Client::connect(gateway)?, idle(client)));
    let clients: Vec<_> = (0..CLIENTS).map(race).collect();
    let mut failed = Vec::new();
    for client in clients {
        let own = client.join();
        failed.extend(own.map_err(|_| anyhow::anyhow!("a client panicked"))??);
    }
    Ok(failed)
}

fn idling(mut client: Client, idle: Duration) -> Result<Vec<Answer>> {
    let mut failed = Vec::new();
    for _ in 0..ROUNDS {
        let answer = client.post(&format!("/race/{}", next_id()))?;
        if answer.status != 200 {
            failed.push(answer);
        }
        std::thread::sleep(idle);
    }
    Ok(failed)
}

/// The shortest idle limit that a middlebox is believed to have.
const FORGOTTEN: Duration = Duration::from_secs(61);
/// Two pooled connections idle for a minute. Then a RST comes in the name of the one upstream, and nothing
/// reaches the other any more: what lies in between says so, or says nothing.
#[test]
fn a_middlebox_forgets_an_idle_connection() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let netns = Netns::make()?;
    // 198.19.0.0/16 is for tests of network devices (RFC 2544): nobody's real network.
    let beyond = format!("198.19.78.{}", 1 + std::process::id() % 254);
    let _route = Route::nowhere(&netns, &beyond)?;
    netns.run(&["ip", "addr", "add", &beyond, "dev", "lo"])?;
    let idle = ["--share", "threads", "--idle", "100"];
    let near = Upstream::faulty(&idle)?;
    let options = [&["--host", &beyond][..], &idle].concat();
    let far = Upstream::faulty_at(Some(&netns.name), &options)?;
    let site = |to: &Upstream| Site::on("127.0.0.1", vec![Server::Tcp(to.addr.clone())]);
    let plan = Plan {
        sites: vec![site(&near)?, site(&far)?],
        keeps: Some(Duration::from_secs(100)),
        ..Plan::default()
    };
    let gateway = Gateway::start(Kind::Nginx, &plan)?;
    let doors = [gateway.sites[0].addr, gateway.sites[1].addr];
    let ports = doors[1].port().to_string();
    let options = ["--port", &ports, "--status", "502,504"];
    let mut watch = Watch::on(gateway.port(), &options)?;
    // One client connection is one worker, and that worker's pool.
    let mut clients = doors.map(Client::connect);
    for client in &mut clients {
        let good = client.as_mut().map(|client| client.get("/ok"));
        ensure!(good.is_ok_and(|answer| answer.is_ok_and(|one| one.status == 200)));
    }
    std::thread::sleep(FORGOTTEN);
    netns.run(&["ip", "addr", "del", &beyond, "dev", "lo"])?;
    let mut forge = Command::new("/usr/bin/python3");
    forge.arg("-B").arg(programs().join("forge.py"));
    let forger = Running::start(forge.arg(near.port.to_string()))?;
    let ready = forger
        .out
        .wait(Duration::from_secs(10), |line| line == "listening");
    ensure!(ready.is_some(), "{}", forger.err.text());
    // Before their clients' connections have idled too long for the gateway.
    let ask = |client: Result<Client>| client?.post(&format!("/fault/hold/{}", next_id()));
    for answer in clients.map(ask) {
        // Within a minute a crowded host may lose a record.
        let honest = ["keepalive.middlebox", "unknown.evidence-lost"];
        watch.expect_one_of(&answer?, &honest, Sure::Honest);
    }
    watch.end().map(drop)
}
