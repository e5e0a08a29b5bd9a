//! The gateway's own host refuses it what it needs: to connect.

use std::time::Duration;

use anyhow::{Result, bail};
use probe502_tests::client::next_id;
use probe502_tests::gateways::{Gateway, Kind, Plan, Server, Site};
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::{Sure, Watch};

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
    for _ in 0..20 {
        let answer = gateway.get(&format!("/own/{}", next_id()))?;
        // Not all of its workers have the same files open.
        if answer.status == 200 {
            continue;
        }
        let causes = [cause, "unknown.unexplained", "proxy.own-answer"];
        let seen = watch.expect_one_of(&answer, &causes, Sure::Honest);
        if seen.is_none_or(|seen| seen.field("/cause") == cause) {
            return watch.end().map(drop);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    bail!("{cause} was never told")
}

fn denied() -> Plan {
    Plan {
        denied: true,
        ..Plan::default()
    }
}

#[test]
fn a_policy_forbids_nginx_to_connect() -> Result<()> {
    lacks(Kind::Nginx, denied(), "proxy.denied")
}

#[test]
fn a_policy_forbids_haproxy_to_connect() -> Result<()> {
    lacks(Kind::Haproxy, denied(), "proxy.denied")
}
