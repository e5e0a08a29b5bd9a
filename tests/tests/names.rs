//! Names that do not resolve, behind a real nginx and a real name server that fails.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use probe502_tests::client::next_id;
use probe502_tests::nginx::{Nginx, Plan};
use probe502_tests::running::Running;
use probe502_tests::skip::unable;
use probe502_tests::upstream::{Upstream, programs};
use probe502_tests::watch::{Sure, Watch};

/// Nobody else has this address of the loopback network.
const SERVER: &str = "127.53.50.2";

fn server() -> Result<Running> {
    let mut command = Command::new("/usr/bin/python3");
    let running = Running::start(
        command
            .arg("-B")
            .arg(programs().join("names.py"))
            .arg(SERVER),
    )?;
    let ready = running
        .out
        .wait(Duration::from_secs(5), |line| line == "ready");
    ready.with_context(|| running.err.text())?;
    Ok(running)
}

fn nginx(name: &str) -> Result<Nginx> {
    Nginx::start(&Plan {
        resolver: Some(SERVER.to_owned()),
        ..Plan::before(name)
    })
}

/// Twice: each worker asks on a socket that it keeps.
fn fails(name: &str, cause: &str) -> Result<()> {
    if unable() {
        return Ok(());
    }
    let _server = server()?;
    let gateway = nginx(name)?;
    let mut watch = Watch::over(&gateway)?;
    let mut client = gateway.client()?;
    for _ in 0..2 {
        let answer = client.get(&format!("/nameless/{}", next_id()))?;
        let seen = watch.expect(&answer, cause, Sure::Inferred);
        if let Some(seen) = seen {
            let said = seen.verdict["gateway_says"][0].as_str().unwrap_or_default();
            let said = said.trim_start_matches('…').trim();
            ensure!(gateway.log().contains(said), "{said}: {}", gateway.log());
        }
    }
    watch.end().map(drop)
}

#[test]
fn there_is_no_such_name() -> Result<()> {
    fails("nx.test", "proxy.dns.nxdomain")
}

#[test]
fn the_name_server_fails() -> Result<()> {
    fails("fail.test", "proxy.dns.servfail")
}

#[test]
fn the_name_server_is_silent() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let _server = server()?;
    let gateway = nginx("silent.test")?;
    let mut watch = Watch::over(&gateway)?;
    let answer = gateway.get(&format!("/silent/{}", next_id()))?;
    watch.expect(&answer, "proxy.dns.timeout", Sure::Inferred);
    watch.end().map(drop)
}

#[test]
fn a_name_that_resolves_is_not_blamed() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let _server = server()?;
    let upstream = Upstream::faulty(&[])?;
    let gateway = nginx(&format!("app.test:{}", upstream.port))?;
    let mut watch = Watch::over(&gateway)?;
    ensure!(gateway.get("/ok")?.status == 200, gateway.log());
    let answer = gateway.get(&format!("/fault/close-without-answer/{}", next_id()))?;
    watch.expect(&answer, "app.closed-without-answer", Sure::Proven);
    watch.end().map(drop)
}
