//! Answers that break off within their body, which no status tells: with `--silent` each has a verdict.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use probe502_tests::agent::{Agent, Seen};
use probe502_tests::client::{Client, in_background, next_id};
use probe502_tests::gateways::{Gateway, Kind};
use probe502_tests::schema;
use probe502_tests::skip::say;
use probe502_tests::upstream::Upstream;

const SOON: Duration = Duration::from_secs(30);

/// How a body breaks off, and why: of some length, in chunks, and behind a header that is longer than what
/// is kept of it.
const CUTS: [(&str, &str); 10] = [
    ("cut-close", "app.closed-mid-body"),
    ("cut-segv", "process.crash"),
    ("cut-chunked", "app.closed-mid-body"),
    ("cut-long-header", "app.closed-mid-body"),
    ("cut-chunked-segv", "process.crash"),
    ("cut-in-chunk", "app.closed-mid-body"),
    ("cut-at-once", "app.closed-mid-body"),
    ("cut-reset", "app.reset-linger"),
    ("cut-exit", "process.exit"),
    ("cut-killed", "process.killed.by-parent"),
];

fn path(name: &str) -> String {
    format!("/fault/{name}/{}", next_id())
}

/// Whether a verdict is about an answer of faulty.py that broke off for this reason.
fn is_right(seen: &Seen, (name, cause): (&str, &str)) -> bool {
    let cut = &seen.verdict["cut"];
    let after = cut["after_bytes"].as_u64();
    let of_bytes = match name.contains("chunk") {
        true => cut["of_bytes"].is_null(),
        false => cut["of_bytes"] == 10_000,
    };
    seen.field("/kind") == "silent"
        && seen.verdict["status"] == 200
        && seen.field("/symptom") == "truncated"
        && seen.field("/cause") == cause
        && seen.field("/confidence") == "proven"
        && of_bytes
        && after.is_none_or(|after| after <= 4000)
}

/// Asks for an answer that breaks off; what is wrong with its verdict, if anything.
fn cut(gateway: &Gateway, agent: &Agent, (name, cause): (&str, &str)) -> Result<Option<String>> {
    let path = path(name);
    if name.contains("chunk") {
        // What ends a body in chunks is not looked at here: it is read to the connection's end.
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n");
        let answer = ask(gateway.addr, &request, None)?;
        // A gateway that comes late to the answer's beginning says itself that it failed.
        if answer.starts_with(b"HTTP/1.1 5") {
            return Ok(None);
        }
    } else if let Ok(answer) = Client::connect(gateway.addr)?.get(&path) {
        // A gateway that comes late to the answer's beginning says itself that it failed.
        let failed = (answer.status < 500).then(|| format!("{name}: a whole {}", answer.status));
        return Ok(failed);
    }
    let seen = agent.verdict(SOON, |seen| seen.field("/request/path") == path);
    Ok(match seen {
        Some(seen) if is_right(&seen, (name, cause)) => {
            say(&format!(
                "{} {}",
                gateway.kind.name(),
                seen.field("/sentence")
            ));
            None
        }
        Some(seen) => Some(format!("{name}: {}", seen.line)),
        None => Some(format!("{name}: no verdict")),
    })
}

/// Behind nginx every cut, behind the others four of them.
#[test]
fn a_cut_answer_has_a_verdict_behind_every_gateway() -> Result<()> {
    let agent = match Kind::Nginx.is_missing() {
        true => return Ok(()),
        false => Agent::watch(&["--silent"])?,
    };
    let mut wrong = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_missing()) {
        let upstream = Upstream::faulty(&[])?;
        let gateway = Gateway::before(kind, &upstream.addr)?;
        let cuts = if kind == Kind::Nginx { CUTS.len() } else { 4 };
        for fault in CUTS.into_iter().take(cuts) {
            let found = cut(&gateway, &agent, fault)?;
            wrong.extend(found.map(|found| format!("{}: {found}", kind.name())));
        }
    }
    let report = agent.finish()?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let ours = report
        .verdicts
        .iter()
        .filter(|seen| seen.field("/request/path").contains("/cut-"));
    let lines: String = ours.map(|seen| seen.line.clone() + "\n").collect();
    schema::check("verdict", &lines)
}

/// Asks, and reads to the end, however it comes, or leaves after so many bytes.
fn ask(gateway: SocketAddr, request: &str, leave_after: Option<usize>) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(request.as_bytes())?;
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    while leave_after.is_none_or(|enough| all.len() < enough) {
        match stream.read(&mut part) {
            Ok(0) => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            read => all.extend_from_slice(&part[..read?]),
        }
    }
    if leave_after.is_some() {
        stream.shutdown(Shutdown::Both)?;
    }
    Ok(all)
}

/// Whole answers of every framing, answers without a body, a protocol upgrade, and clients that leave.
#[test]
fn whole_answers_and_clients_that_leave_have_none() -> Result<()> {
    if Kind::Nginx.is_missing() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    for kind in [Kind::Nginx, Kind::Haproxy] {
        let gateway = Gateway::before(kind, &upstream.addr)?;
        let port = gateway.addr.port().to_string();
        let agent = Agent::watch(&["--port", &port, "--silent", "--status", "502,503,504"])?;
        let plain = "Host: shop.test\r\nConnection: close\r\n\r\n";
        let upgrade = "Host: shop.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        for (method, name, fields, leave_after) in [
            ("GET", "whole-length", plain, None),
            ("GET", "whole-and-close", plain, None),
            ("GET", "whole-chunked", plain, None),
            ("GET", "whole-until-end", plain, None),
            ("HEAD", "whole-to-head", plain, None),
            ("GET", "whole-not-modified", plain, None),
            ("GET", "whole-upgraded", upgrade, None),
            ("GET", "whole-slowly", plain, Some(1000)),
        ] {
            for _ in 0..3 {
                let request = format!("{method} {} HTTP/1.1\r\n{fields}", path(name));
                ask(gateway.addr, &request, leave_after)?;
            }
        }
        // One that is told, so that all before it have been judged.
        let wrong = cut(&gateway, &agent, CUTS[0])?;
        ensure!(wrong.is_none(), "{wrong:?}");
        let report = agent.finish()?;
        let told = report.verdicts.len();
        ensure!(told == 1, "{told} verdicts: {}", report.output);
    }
    Ok(())
}

/// Those that look at their upstream within an answer's body (Caddy and Traefik wait for its header alone).
const IMPATIENT: [Kind; 8] = [
    Kind::Nginx,
    Kind::NginxTrixie,
    Kind::Haproxy,
    Kind::HaproxyTrixie,
    Kind::Apache,
    Kind::Envoy,
    Kind::Varnish,
    Kind::Squid,
];

/// All at once: each waits for three seconds.
#[test]
fn an_upstream_that_falls_silent_within_its_answer_is_named() -> Result<()> {
    if Kind::Nginx.is_missing() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let agent = Agent::watch(&["--silent"])?;
    let mut asked = Vec::new();
    for kind in IMPATIENT.into_iter().filter(|kind| !kind.is_missing()) {
        let gateway = Gateway::before(kind, &upstream.addr)?;
        let path = path("cut-stall");
        asked.push((in_background(gateway.addr, path.clone()), gateway, path));
    }
    let mut wrong = Vec::new();
    for (client, gateway, path) in asked {
        let answered = client.join();
        let whole = answered.is_ok_and(|answer| answer.is_ok());
        let seen = agent.verdict(SOON, |seen| seen.field("/request/path") == path);
        let said = |seen: &Seen, words: &str| seen.field("/sentence").contains(words);
        // Who held an end that was reset cannot be looked up any more.
        let resets = [Kind::Haproxy, Kind::HaproxyTrixie].contains(&gateway.kind);
        let line = seen.as_ref().map_or("no verdict", |seen| &seen.line);
        let is_right = seen.as_ref().is_some_and(|seen| {
            seen.field("/symptom") == "truncated"
                && seen.field("/cause") == "app.stalled"
                && seen.field("/confidence") == "proven"
                && said(seen, "and then nothing for ")
                && (resets || said(seen, "it waited in "))
        });
        let name = gateway.kind.name();
        if whole || !is_right {
            wrong.push(format!("{name}: {line}"));
        }
        say(&format!(
            "{name} {}",
            seen.map_or_else(String::new, |seen| seen.field("/sentence").to_owned())
        ));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
