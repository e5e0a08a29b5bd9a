//! Gateways that answer in one thread and let go in another, or answer before they let go: each answer
//! gets its own upstream attempt.

use std::thread;

use anyhow::{Result, ensure};
use probe502_tests::client::Answer;
use probe502_tests::gateways::{Gateway, Kind, Plan, Server, Site};
use probe502_tests::nginx::free_port;
use probe502_tests::repertoire::{Fault, fault};
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::{Sure, Watch};

const WATCHED: [&str; 2] = ["--status", "500,502,503,504"];

/// Each proves itself on its socket or its process, whatever the gateway.
const MIXED: [&str; 8] = [
    "close-without-answer",
    "partial-status",
    "reset-linger",
    "reset-unread",
    "malformed-header",
    "says-502",
    "segv",
    "exit-early",
];

/// A gateway of two sites: before an upstream that breaks, and before a port where nobody listens.
fn stage(kind: Kind, upstream: &Upstream) -> Result<Gateway> {
    let nobody = format!("127.0.0.1:{}", free_port("127.0.0.1")?);
    let sites = vec![
        Site::on("127.0.0.1", vec![Server::Tcp(upstream.addr.clone())])?,
        Site::on("127.0.0.1", vec![Server::Tcp(nobody)])?,
    ];
    let plan = Plan {
        sites,
        ..Plan::default()
    };
    Gateway::start(kind, &plan)
}

/// Eight faults and as many refused dials, all in flight at once, three times.
fn each_gets_its_own(kind: Kind) -> Result<()> {
    if kind.is_missing() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let gateway = stage(kind, &upstream)?;
    let (port, dead) = (gateway.port(), gateway.sites[1].addr);
    let mut watch = Watch::on(
        port,
        &[&["--port", &dead.port().to_string()], &WATCHED[..]].concat(),
    )?;
    ensure!(gateway.get("/ok")?.status == 200, gateway.log());
    for _ in 0..3 {
        let asked: Vec<(Fault, &str, thread::JoinHandle<Result<Answer>>)> = MIXED
            .iter()
            .map(|name| fault(name))
            .flat_map(|fault| {
                let at = gateway.addr;
                let broken = thread::spawn(move || fault.ask_at(at));
                let refused = thread::spawn(move || fault.ask_at(dead));
                [
                    (fault, fault.cause, broken),
                    (fault, "listener.absent", refused),
                ]
            })
            .collect();
        for (fault, cause, answer) in asked {
            let answer = answer
                .join()
                .map_err(|_| anyhow::anyhow!("{} panicked", fault.name))??;
            // Of requests that come together, one may find that several attempts fit it.
            watch.expect_one_of(&answer, &[cause, "unknown.unexplained"], Sure::Honest);
        }
    }
    watch.end().map(drop)
}

#[test]
fn haproxy_answers_before_it_lets_go() -> Result<()> {
    each_gets_its_own(Kind::Haproxy)
}

#[test]
fn envoy_puts_its_writes_off() -> Result<()> {
    each_gets_its_own(Kind::Envoy)
}

#[test]
fn apache_blocks_a_thread_for_each() -> Result<()> {
    each_gets_its_own(Kind::Apache)
}

#[test]
fn caddy_moves_requests_between_threads() -> Result<()> {
    each_gets_its_own(Kind::Caddy)
}

#[test]
fn varnish_fetches_in_another_thread() -> Result<()> {
    if Kind::Varnish.is_missing() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let gateway = Gateway::before(Kind::Varnish, &upstream.addr)?;
    let mut watch = Watch::on(gateway.port(), &WATCHED)?;
    for name in MIXED {
        let fault = fault(name);
        watch.expect(&fault.ask_at(gateway.addr)?, fault.cause, fault.sure());
    }
    watch.end().map(drop)
}

#[test]
fn a_request_that_comes_with_the_handshakes_end_is_seen() -> Result<()> {
    if Kind::Apache.is_missing() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let gateway = Gateway::before(Kind::Apache, &upstream.addr)?;
    let mut watch = Watch::on(gateway.port(), &WATCHED)?;
    let answer = fault("says-502").ask_at(gateway.addr)?;
    let seen = watch.expect(&answer, "relayed.upstream", Sure::Proven);
    if let Some(seen) = seen {
        ensure!(seen.field("/request/path") == answer.path, seen.line);
    }
    watch.end().map(drop)
}
