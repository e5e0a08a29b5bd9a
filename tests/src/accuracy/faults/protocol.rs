//! Bytes that the gateway could not use.

use std::process::Command;

use anyhow::{Result, ensure};

use super::asked;
use crate::accuracy::cast::Cast;
use crate::accuracy::luck::Luck;
use crate::accuracy::{Fault, Truth, truth};
use crate::gateways::Kind;
use crate::running::Running;
use crate::upstream::{endpoint, programs};

/// A gateway hangs up on what it dislikes; a server that speaks first may have been gone by then.
const BAD: &[&str] = &["bad-answer"];
const MALFORMED: Truth = truth(&["protocol.malformed"], BAD);
const NOT_HTTP: Truth = truth(&["protocol.not-http"], BAD);

pub(super) const FAULTS: &[Fault] = &[
    Fault::new("malformed-header", MALFORMED, |luck, _| {
        asked(luck, "malformed-header")
    }),
    Fault::new("malformed-status-line", MALFORMED, |luck, _| {
        foreign(luck, "status-line")
    }),
    Fault::new("malformed-length", MALFORMED, |luck, _| {
        foreign(luck, "length")
    }),
    Fault::new("nul-in-header", MALFORMED, |luck, _| foreign(luck, "nul")),
    Fault::new("blank-in-header-name", MALFORMED, |luck, _| {
        foreign(luck, "name")
    })
    .unknown(&[(
        Kind::Apache,
        "it takes the answer and keeps the connection, and its own output refuses the header (AH02429): \
         nothing happens on the upstream's socket",
    )]),
    Fault::new("garbage", MALFORMED, |luck, _| foreign(luck, "garbage")),
    Fault::new(
        "header-too-big",
        truth(&["protocol.header-too-big"], BAD),
        |luck, _| asked(luck, "header-too-big"),
    ),
    Fault::new("ssh", NOT_HTTP, |luck, _| foreign(luck, "ssh")),
    Fault::new("mail", NOT_HTTP, |luck, _| {
        let voice = luck.one_of(&["smtp", "ftp"]);
        foreign(luck, voice)
    }),
    Fault::new("mysql", NOT_HTTP, |luck, _| foreign(luck, "mysql")),
    Fault::new("redis", NOT_HTTP, |luck, _| foreign(luck, "redis")),
    Fault::new("memcached", NOT_HTTP, |luck, _| foreign(luck, "memcached")),
    Fault::new("http2-only", NOT_HTTP, |luck, _| foreign(luck, "http2")),
];

fn foreign(luck: &mut Luck, voice: &str) -> Result<Cast> {
    let (addr, running) = voice_at(luck, voice)?;
    Cast::of(addr, move |door| {
        let _alive = &running;
        door.get("/foreign")
    })
}

/// A server with this voice.
pub(super) fn voice_at(luck: &mut Luck, voice: &str) -> Result<(String, Running)> {
    let port = luck.port();
    let running = program("foreign.py", &[&port.to_string(), voice])?;
    Ok((endpoint("127.0.0.1", port), running))
}

/// A program of the upstreams' folder that says when it listens.
pub(super) fn program(name: &str, words: &[&str]) -> Result<Running> {
    let mut command = Command::new("/usr/bin/python3");
    command.arg("-B").arg(programs().join(name)).args(words);
    let running = Running::start(&mut command)?;
    let ready = running
        .out
        .wait(crate::upstream::STARTING, |line| line == "listening");
    ensure!(ready.is_some(), "{name}: {}", running.err.text());
    Ok(running)
}
