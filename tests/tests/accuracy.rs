//! A part of the matrix: every fault once, behind one of ten gateways or another.

use anyhow::{Result, ensure};
use probe502_tests::accuracy::run::{self, Pace};
use probe502_tests::accuracy::{Cell, page, sample};
use probe502_tests::gateways::Kind;
use probe502_tests::skip::{say, skip, unable};

/// Nothing wrong, nothing missed, nothing too much.
fn behind(kind: Kind) -> Result<()> {
    if unable() {
        return Ok(());
    }
    if let Err(reason) = kind.program() {
        skip(&format!("{reason:#}"));
        return Ok(());
    }
    let cells: Vec<Cell> = sample()
        .into_iter()
        .filter(|cell| cell.kind == kind)
        .collect();
    let dir = std::env::temp_dir().join(format!("probe502-accuracy-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let judged = run::gateway(kind, &cells, 502, Pace::Together, &dir)?;
    std::fs::remove_dir_all(&dir)?;
    let lines: Vec<String> = judged.iter().map(page::line).collect();
    say(&lines.join("\n"));
    ensure!(
        !judged.iter().any(|cell| cell.mark.is_bad()),
        "{}",
        lines.join("\n")
    );
    Ok(())
}

#[test]
fn behind_nginx() -> Result<()> {
    behind(Kind::Nginx)
}

#[test]
fn behind_nginx_of_another_root() -> Result<()> {
    behind(Kind::NginxTrixie)
}

#[test]
fn behind_haproxy() -> Result<()> {
    behind(Kind::Haproxy)
}

#[test]
fn behind_haproxy_of_another_root() -> Result<()> {
    behind(Kind::HaproxyTrixie)
}

#[test]
fn behind_apache() -> Result<()> {
    behind(Kind::Apache)
}

#[test]
fn behind_caddy() -> Result<()> {
    behind(Kind::Caddy)
}

#[test]
fn behind_envoy() -> Result<()> {
    behind(Kind::Envoy)
}

#[test]
fn behind_traefik() -> Result<()> {
    behind(Kind::Traefik)
}

#[test]
fn behind_varnish() -> Result<()> {
    behind(Kind::Varnish)
}

#[test]
fn behind_squid() -> Result<()> {
    behind(Kind::Squid)
}
