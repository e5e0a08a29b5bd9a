//! The same faults seen by the other hook, over IPv6, and across namespaces with packets elsewhere.

use anyhow::Result;
use probe502_tests::netns::Netns;
use probe502_tests::nginx::{Nginx, Plan};
use probe502_tests::repertoire::each;
use probe502_tests::skip::{skip, unable};
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::Watch;

#[test]
fn on_loopback() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    everything(&Nginx::before(&upstream.addr)?, &[])
}

#[test]
fn by_cgroup_egress() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    everything(&Nginx::before(&upstream.addr)?, &["--force-egress"])
}

#[test]
fn over_ipv6() -> Result<()> {
    if unable() {
        return Ok(());
    }
    if !std::path::Path::new("/proc/net/if_inet6").exists() {
        skip("this kernel has no IPv6");
        return Ok(());
    }
    let upstream = Upstream::faulty(&["--host", "::1"])?;
    everything(
        &Nginx::start(&Plan {
            host: "::1".into(),
            ..Plan::before(&upstream.addr)
        })?,
        &[],
    )
}

#[test]
fn over_ipv6_by_cgroup_egress() -> Result<()> {
    if unable() {
        return Ok(());
    }
    if !std::path::Path::new("/proc/net/if_inet6").exists() {
        skip("this kernel has no IPv6");
        return Ok(());
    }
    let upstream = Upstream::faulty(&["--host", "::1"])?;
    everything(
        &Nginx::start(&Plan {
            host: "::1".into(),
            ..Plan::before(&upstream.addr)
        })?,
        &["--force-egress"],
    )
}

#[test]
fn across_namespaces_with_packets_on_the_other_processor() -> Result<()> {
    if unable() {
        return Ok(());
    }
    elsewhere(&[])
}

#[test]
fn across_namespaces_by_cgroup_egress() -> Result<()> {
    if unable() {
        return Ok(());
    }
    elsewhere(&["--force-egress"])
}

fn elsewhere(options: &[&str]) -> Result<()> {
    if std::thread::available_parallelism()?.get() < 2 {
        skip("needs two processors");
        return Ok(());
    }
    let netns = Netns::make()?;
    netns.steer(1)?;
    let upstream = Upstream::faulty_at(Some(&netns.name), &["--host", &netns.host])?;
    everything(
        &Nginx::start(&Plan {
            cpu: Some(0),
            ..Plan::before(&upstream.addr)
        })?,
        options,
    )
}

fn everything(gateway: &Nginx, options: &[&str]) -> Result<()> {
    let mut watch = Watch::with(gateway, options)?;
    each(gateway, &mut watch)?;
    watch.end().map(drop)
}
