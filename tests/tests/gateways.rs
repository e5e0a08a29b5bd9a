//! Each of ten gateways serves, and its failed answer has its verdict.

use anyhow::{Result, ensure};
use probe502_tests::gateways::{Gateway, Kind};
use probe502_tests::repertoire::fault;
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::{Sure, Watch};

/// A good answer, then one whose upstream closed without a word.
fn serves_and_fails(kind: Kind) -> Result<()> {
    if kind.is_missing() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let gateway = Gateway::before(kind, &upstream.addr)?;
    let mut watch = Watch::on(gateway.port(), &["--status", "500,502,503,504"])?;
    let good = gateway.get("/ok")?;
    ensure!(good.status == 200, "{}: {}", good.status, gateway.log());
    let fault = fault("close-without-answer");
    watch.expect(&fault.ask_at(gateway.addr)?, fault.cause, Sure::Inferred);
    watch.end().map(drop)
}

#[test]
fn nginx_of_this_host() -> Result<()> {
    serves_and_fails(Kind::Nginx)
}

#[test]
fn nginx_of_another_root() -> Result<()> {
    serves_and_fails(Kind::NginxTrixie)
}

#[test]
fn haproxy_of_this_host() -> Result<()> {
    serves_and_fails(Kind::Haproxy)
}

#[test]
fn haproxy_of_another_root() -> Result<()> {
    serves_and_fails(Kind::HaproxyTrixie)
}

#[test]
fn apache() -> Result<()> {
    serves_and_fails(Kind::Apache)
}

#[test]
fn caddy() -> Result<()> {
    serves_and_fails(Kind::Caddy)
}

#[test]
fn envoy() -> Result<()> {
    serves_and_fails(Kind::Envoy)
}

#[test]
fn traefik() -> Result<()> {
    serves_and_fails(Kind::Traefik)
}

/// Its status line leaves in many small pieces: that it serves and fails as it should is all that is asked.
#[test]
fn varnish() -> Result<()> {
    if Kind::Varnish.is_missing() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let gateway = Gateway::before(Kind::Varnish, &upstream.addr)?;
    ensure!(gateway.get("/ok")?.status == 200, gateway.log());
    let failed = fault("close-without-answer").ask_at(gateway.addr)?;
    ensure!(failed.status == 503, gateway.log());
    Ok(())
}

#[test]
fn squid() -> Result<()> {
    serves_and_fails(Kind::Squid)
}
