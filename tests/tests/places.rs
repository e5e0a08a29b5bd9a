//! The same faults seen by the other hook, over IPv6, and across namespaces with packets elsewhere.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use probe502_tests::agent::Agent;
use probe502_tests::client::next_id;
use probe502_tests::firewall::Firewall;
use probe502_tests::netns::Netns;
use probe502_tests::paths::Folder;
use probe502_tests::place::Place;
use probe502_tests::repertoire::each;
use probe502_tests::running::signal;
use probe502_tests::skip::{skip, unable};
use probe502_tests::watch::{Sure, Watch};

#[test]
fn on_loopback() -> Result<()> {
    if unable() {
        return Ok(());
    }
    everything(&Place::loopback(), &[])
}

#[test]
fn by_cgroup_egress() -> Result<()> {
    if unable() {
        return Ok(());
    }
    everything(&Place::loopback(), &["--force-egress"])
}

#[test]
fn over_ipv6() -> Result<()> {
    if unable() || without_ipv6() {
        return Ok(());
    }
    everything(&Place::ipv6(), &[])
}

#[test]
fn over_ipv6_by_cgroup_egress() -> Result<()> {
    if unable() || without_ipv6() {
        return Ok(());
    }
    everything(&Place::ipv6(), &["--force-egress"])
}

#[test]
fn across_namespaces_with_packets_on_the_other_processor() -> Result<()> {
    if unable() || without_a_second_processor() {
        return Ok(());
    }
    everything(&Place::elsewhere()?, &[])
}

#[test]
fn across_namespaces_by_cgroup_egress() -> Result<()> {
    if unable() || without_a_second_processor() {
        return Ok(());
    }
    everything(&Place::elsewhere()?, &["--force-egress"])
}

/// Dials so many times, and takes each error as soon as the kernel has set it.
const HASTY: &str = "
import os, socket, sys
os.sched_setaffinity(0, {0})
for _ in range(200):
    with socket.socket() as dial:
        dial.setblocking(False)
        error = dial.connect_ex((sys.argv[1], 9))
        while error in (0, 115):
            error = dial.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        assert error == 111, error
";

/// The kernel sets the error, then changes the state: here its holder takes it in between.
#[test]
fn a_refusal_whose_error_is_taken_at_once() -> Result<()> {
    if unable() || without_a_second_processor() {
        return Ok(());
    }
    let netns = Netns::make()?;
    netns.steer(1)?;
    let (folder, host) = (Folder::make()?, netns.host());
    let recording = folder.path("refused.rec");
    let file = recording.to_str().context("a plain path")?;
    let agent = Agent::watch(&["--record", file])?;
    let dials = Command::new("python3")
        .args(["-c", HASTY, &host])
        .status()?;
    ensure!(dials.success(), "{dials}");
    agent.finish()?;
    let text = Command::new("gunzip")
        .args(["-c"])
        .stdin(std::fs::File::open(&recording)?)
        .output()?;
    let text = String::from_utf8(text.stdout)?;
    let to = format!(" remote={host}:9 ");
    let ended: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(" ended ") && line.contains(&to))
        .collect();
    ensure!(ended.len() == 200, "{} of 200 were told of", ended.len());
    let is_whole = |line: &&&str| line.contains(" error=111 ") && line.contains(" task=python3");
    let bad = ended.iter().find(|line| !is_whole(line));
    ensure!(bad.is_none(), "{bad:?}");
    Ok(())
}

fn without_ipv6() -> bool {
    let without = !std::path::Path::new("/proc/net/if_inet6").exists();
    if without {
        skip("this kernel has no IPv6");
    }
    without
}

fn without_a_second_processor() -> bool {
    let without = std::thread::available_parallelism().is_ok_and(|count| count.get() < 2);
    if without {
        skip("needs two processors");
    }
    without
}

fn everything(place: &Place, options: &[&str]) -> Result<()> {
    broken(place, options)?;
    refused(place, options)?;
    raced(place, options)?;
    rejected(place, options)
}

fn broken(place: &Place, options: &[&str]) -> Result<()> {
    let upstream = place.upstream(&[])?;
    let gateway = place.gateway(&upstream, true)?;
    let mut watch = Watch::with(&gateway, options)?;
    each(&gateway, &mut watch)?;
    watch.end().map(drop)
}

fn refused(place: &Place, options: &[&str]) -> Result<()> {
    let mut upstream = place.upstream(&["--share", "threads"])?;
    let gateway = place.gateway(&upstream, false)?;
    let mut watch = Watch::with(&gateway, options)?;
    upstream.order("close", "closed")?;
    let closed = gateway.get(&format!("/closed/{}", next_id()))?;
    watch.expect(&closed, "listener.closed", Sure::Proven);
    let again = format!("listen {}", upstream.port);
    upstream.order(&again, "listening")?;
    ensure!(gateway.get("/ok")?.status == 200);
    signal(upstream.running.pid(), "KILL")?;
    upstream.running.wait(Duration::from_secs(30))?;
    let dead = gateway.get(&format!("/dead/{}", next_id()))?;
    watch.expect(&dead, "process.killed.by-user", Sure::Proven);
    watch.end().map(drop)
}

fn raced(place: &Place, options: &[&str]) -> Result<()> {
    let upstream = place.upstream(&["--share", "threads", "--idle", "0.5"])?;
    let gateway = place.gateway(&upstream, true)?;
    let mut watch = Watch::with(&gateway, options)?;
    let fin = format!("tcp sport {} tcp flags & fin == fin drop", upstream.port);
    let firewall = Firewall::rule(place.from_upstream(), &fin)?;
    let mut client = gateway.client()?;
    ensure!(client.get("/ok")?.status == 200);
    upstream.hears("idle-closed")?;
    let answer = client.post(&format!("/fault/ok/{}", next_id()))?;
    drop(firewall);
    watch.expect(&answer, "keepalive.race", Sure::Proven);
    watch.end().map(drop)
}

fn rejected(place: &Place, options: &[&str]) -> Result<()> {
    let upstream = place.upstream(&["--share", "threads"])?;
    let gateway = place.gateway(&upstream, false)?;
    let mut watch = Watch::with(&gateway, options)?;
    for way in ["tcp reset", "icmpx type admin-prohibited"] {
        let rule = format!("tcp dport {} reject with {way}", upstream.port);
        let firewall = Firewall::rule("output", &rule)?;
        let answer = gateway.get(&format!("/fault/ok/{}", next_id()))?;
        drop(firewall);
        watch.expect(&answer, "net.filtered.reject", Sure::Proven);
    }
    watch.end().map(drop)
}
