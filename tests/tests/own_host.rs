//! The gateway's own host refuses it what it needs: to connect, a descriptor, memory.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use probe502_tests::client::next_id;
use probe502_tests::gateways::{Gateway, Kind, Plan, Server, Site};
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::{Sure, Watch};

const EACCES: u16 = 13;
const ENOBUFS: u16 = 105;

/// Its host's word to each of its dials.
fn denies(errno: u16) -> Plan {
    Plan {
        denied: Some(errno),
        ..Plan::default()
    }
}

/// So many descriptors for each of its processes, which idle clients take.
const FEW: u32 = 40;
/// More than four workers have room for.
const CROWD: u32 = 5 * FEW;

fn few() -> Plan {
    Plan {
        descriptors: Some(FEW),
        ..Plan::default()
    }
}

/// The first failures may be nobody's: what only a call's errno tells is watched once something asks
/// for it.
fn lacks(kind: Kind, plan: Plan, cause: &str) -> Result<()> {
    if kind.is_missing() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&["--share", "threads"])?;
    let server = Server::Tcp(upstream.addr.clone());
    let plan = Plan {
        sites: vec![Site::on("127.0.0.1", vec![server])?],
        ..plan
    };
    let gateway = Gateway::start(kind, &plan)?;
    let mut watch = Watch::on(gateway.port(), &["--status", "500,502,503,504"])?;
    let count = plan.descriptors.map_or(20, |_| CROWD);
    let clients = (0..count).map(|_| gateway.client());
    let mut clients = clients.collect::<Result<Vec<_>>>()?;
    // Neighbours may be one worker's.
    let apart = clients.len() / 40 + 1;
    for client in clients.iter_mut().step_by(apart).take(20) {
        if plan.descriptors.is_some() {
            until_crowded(&gateway)?;
        }
        let answer = client.get(&format!("/own/{}", next_id()))?;
        // A descriptor came free meanwhile: a client leaves with its failed answer.
        if answer.status == 200 {
            continue;
        }
        let causes = [cause, "unknown.unexplained", "unknown.evidence-lost"];
        let seen = watch.expect_one_of(&answer, &causes, Sure::Honest);
        if seen.is_none_or(|seen| seen.field("/cause") == cause) {
            return watch.end().map(drop);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    bail!("{cause} was never told")
}

/// Waits until nobody who takes clients can take another.
fn until_crowded(gateway: &Gateway) -> Result<()> {
    let pids = gateway.pids();
    let workers = if pids.len() > 1 {
        &pids[1..]
    } else {
        &pids[..]
    };
    let is_full = |pid: &u32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
        open.is_ok_and(|open| open.count() >= FEW as usize)
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !workers.iter().all(is_full) {
        ensure!(Instant::now() < deadline, gateway.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn a_policy_forbids_nginx_to_connect() -> Result<()> {
    lacks(Kind::Nginx, denies(EACCES), "proxy.denied")
}

#[test]
fn a_policy_forbids_haproxy_to_connect() -> Result<()> {
    lacks(Kind::Haproxy, denies(EACCES), "proxy.denied")
}

#[test]
fn nginx_has_no_descriptor_left() -> Result<()> {
    lacks(Kind::Nginx, few(), "proxy.fd-exhausted")
}

#[test]
fn caddy_has_no_descriptor_left() -> Result<()> {
    lacks(Kind::Caddy, few(), "proxy.fd-exhausted")
}

#[test]
fn the_kernel_has_no_memory_for_nginx() -> Result<()> {
    lacks(Kind::Nginx, denies(ENOBUFS), "proxy.no-memory")
}

#[test]
fn the_kernel_has_no_memory_for_apache() -> Result<()> {
    lacks(Kind::Apache, denies(ENOBUFS), "proxy.no-memory")
}
