//! The same faults seen by the other hook, over IPv6, and across namespaces with packets elsewhere.

use std::time::Duration;

use anyhow::{Result, ensure};
use probe502_tests::client::next_id;
use probe502_tests::firewall::Firewall;
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
    upstream.running.wait(Duration::from_secs(5))?;
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
