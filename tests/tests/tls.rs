//! TLS to the upstream, and what goes wrong with it: each way has its own label, whoever is the gateway.

use anyhow::{Context, Result};
use probe502_tests::client::next_id;
use probe502_tests::gateways::{Gateway, Kind, Plan, Server, Site, Trust};
use probe502_tests::handshakes::{self, Certificates};
use probe502_tests::skip::{say, skip, unable};
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::{Sure, Watch};

/// Those that tell most of HTTP's and TLS's ways apart: OpenSSL twice, Go, BoringSSL.
const GATEWAYS: [Kind; 4] = [Kind::Nginx, Kind::Haproxy, Kind::Caddy, Kind::Envoy];

/// Whom the gateway believes.
#[derive(Clone, Copy)]
enum Believes {
    /// Anyone.
    Anyone,
    /// The authority that signed the upstream's certificate.
    Ours,
    /// Another.
    Another,
    /// It speaks no TLS.
    NoTls,
}

fn fails(mode: &str, believes: Believes, causes: &[&str], sure: Sure) -> Result<()> {
    behind(&GATEWAYS, (&[mode], believes), causes, sure)
}

/// A gateway, and who stands behind it.
struct Cast {
    kind: Kind,
    mode: String,
    gateway: Gateway,
    upstream: Upstream,
}

impl Cast {
    fn of(kind: Kind, mode: &str, upstream: Upstream, tls: Option<Trust>) -> Result<Self> {
        let site = Site::on("127.0.0.1", vec![Server::Tcp(upstream.addr.clone())])?;
        let plan = Plan {
            sites: vec![Site { tls, ..site }],
            ..Plan::default()
        };
        Ok(Self {
            kind,
            mode: mode.to_owned(),
            gateway: Gateway::start(kind, &plan)?,
            upstream,
        })
    }
}

fn behind(
    gateways: &[Kind],
    (modes, believes): (&[&str], Believes),
    causes: &[&str],
    sure: Sure,
) -> Result<()> {
    if unable() {
        return Ok(());
    }
    let (ours, another) = (Certificates::make()?, Certificates::make()?);
    let tls = match believes {
        Believes::Anyone => Some(Trust::Anyone),
        Believes::Ours => Some(Trust::Authority(ours.authority())),
        Believes::Another => Some(Trust::Authority(another.authority())),
        Believes::NoTls => None,
    };
    let mut casts = Vec::new();
    for kind in gateways.iter().copied() {
        if let Err(reason) = kind.program() {
            skip(&format!("{reason:#}"));
            continue;
        }
        for mode in modes {
            casts.push(Cast::of(kind, mode, ours.upstream(mode)?, tls.clone())?);
        }
    }
    each_fails(&casts, believes, causes, sure)
}

/// One agent watches them all.
fn each_fails(casts: &[Cast], believes: Believes, causes: &[&str], sure: Sure) -> Result<()> {
    let ports: Vec<String> = casts
        .iter()
        .map(|cast| cast.gateway.port().to_string())
        .collect();
    let options = [
        "--status",
        "400,500,502,503,504",
        "--port",
        &ports.join(","),
    ];
    let mut watch = Watch::on(
        casts.first().context("no gateway")?.gateway.port(),
        &options,
    )?;
    for cast in casts {
        say(&format!("{} {}", cast.kind.name(), cast.mode));
        if matches!(believes, Believes::NoTls) && cast.mode == "tls" {
            // Someone who speaks TLS to it: so it is known that it does.
            handshakes::shake_hands(&cast.upstream.addr)?;
        }
        let answer = cast.gateway.post(&format!("/fault/close/{}", next_id()))?;
        watch.expect_one_of(&answer, causes, sure);
    }
    watch.end().map(drop)
}

#[test]
fn a_certificate_of_another_authority() -> Result<()> {
    fails(
        "tls",
        Believes::Another,
        &["protocol.tls-distrust"],
        Sure::Inferred,
    )
}

#[test]
fn a_certificate_of_another_authority_in_tls_1_2() -> Result<()> {
    fails(
        "tls12",
        Believes::Another,
        &["protocol.tls-distrust"],
        Sure::Inferred,
    )
}

#[test]
fn no_common_cipher() -> Result<()> {
    fails(
        "cipher",
        Believes::Anyone,
        &["protocol.tls-alert"],
        Sure::Inferred,
    )
}

#[test]
fn a_name_that_the_server_does_not_know() -> Result<()> {
    fails(
        "name",
        Believes::Anyone,
        &["protocol.tls-alert"],
        Sure::Inferred,
    )
}

#[test]
fn a_client_certificate_is_required() -> Result<()> {
    fails(
        "tls12-client",
        Believes::Ours,
        &["protocol.tls-alert"],
        Sure::Inferred,
    )
}

#[test]
fn a_client_certificate_is_required_in_tls_1_3() -> Result<()> {
    fails(
        "tls13-client",
        Believes::Ours,
        // The alert is encrypted, and the request may have left before it.
        &["protocol.tls-alert", "unknown.unexplained"],
        Sure::Honest,
    )
}

#[test]
fn closed_in_the_handshake() -> Result<()> {
    fails(
        "hangs-up",
        Believes::Ours,
        &["protocol.tls-closed"],
        Sure::Inferred,
    )
}

#[test]
fn tls_to_a_port_in_clear() -> Result<()> {
    fails(
        "clear",
        Believes::Ours,
        &["protocol.tls-to-plain"],
        Sure::Inferred,
    )
}

#[test]
fn closed_without_an_answer_behind_tls() -> Result<()> {
    fails(
        "tls",
        Believes::Ours,
        &["app.closed-without-answer", "unknown.unexplained"],
        Sure::Honest,
    )
}

#[test]
fn a_request_in_clear_to_a_tls_port() -> Result<()> {
    fails(
        "tls",
        Believes::NoTls,
        &["protocol.plain-to-tls"],
        Sure::Inferred,
    )
}

#[test]
fn servers_of_other_protocols() -> Result<()> {
    behind(
        &[Kind::Haproxy, Kind::Caddy],
        (
            &["ssh", "smtp", "mysql", "redis", "memcached", "http2"],
            Believes::NoTls,
        ),
        &["protocol.not-http"],
        Sure::Inferred,
    )
}
