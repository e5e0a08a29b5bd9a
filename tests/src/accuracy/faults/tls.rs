//! TLS, where it does not come about.

use anyhow::Result;

use super::ENDED;
use super::protocol::{program, voice_at};
use crate::accuracy::cast::Cast;
use crate::accuracy::luck::Luck;
use crate::accuracy::{Fault, Truth, truth};
use crate::certificate::Certificate;
use crate::gateways::{Kind, Trust};
use crate::running::Running;
use crate::upstream::endpoint;

const FAILED: &[&str] = &["tls-failure"];
const DISTRUST: Truth = truth(&["protocol.tls-distrust"], FAILED);
/// A server that closes without an alert is known to speak TLS only by what it said to others.
const PLAIN: Truth = truth(
    &[
        "protocol.plain-to-tls",
        "app.closed-without-answer",
        "app.reset-unread",
    ],
    &["eof", "reset", "bad-answer", "tls-failure"],
);

pub(super) const FAULTS: &[Fault] = &[
    Fault::new("plain-to-tls", PLAIN, |luck, _| plain_to_tls(luck))
        .because("the server closes without an alert, and may not be known to speak TLS"),
    Fault::new(
        "plain-to-tls-with-alert",
        truth(
            &["protocol.plain-to-tls"],
            &["bad-answer", "tls-failure", "eof", "reset"],
        ),
        |luck, _| alert_to_plain(luck),
    ),
    Fault::new(
        "tls-to-plain",
        truth(&["protocol.tls-to-plain"], FAILED),
        |luck, _| in_tls(luck, "http"),
    )
    .only(Kind::speaks_tls),
    Fault::new(
        "tls-alert",
        truth(&["protocol.tls-alert"], FAILED),
        |luck, _| {
            let voice = luck.one_of(&["alert-40", "alert-70", "alert-80", "alert-112"]);
            in_tls(luck, voice)
        },
    )
    .only(Kind::speaks_tls),
    Fault::new(
        "tls-closed",
        truth(&["protocol.tls-closed"], FAILED),
        |luck, _| in_tls(luck, "closes"),
    )
    .only(Kind::speaks_tls),
    Fault::new("tls-1.2-distrusted", DISTRUST, |luck, _| {
        distrusted(luck, "1.2")
    })
    .only(Kind::verifies_tls),
    Fault::new("tls-1.3-distrusted", DISTRUST, |luck, _| {
        distrusted(luck, "1.3")
    })
    .only(Kind::verifies_tls),
    Fault::new(
        "closes-in-tls",
        truth(&["app.closed-without-answer"], ENDED),
        closes_in_tls,
    )
    .only(Kind::speaks_tls),
];

/// An HTTPS server with this certificate.
fn secure(luck: &mut Luck, own: &Certificate, newest: &str) -> Result<(String, Running)> {
    let port = luck.port();
    let (file, key) = (
        own.file().display().to_string(),
        own.key().display().to_string(),
    );
    let running = program("secure.py", &[&port.to_string(), &file, &key, newest])?;
    Ok((endpoint("127.0.0.1", port), running))
}

fn plain_to_tls(luck: &mut Luck) -> Result<Cast> {
    let own = Certificate::make()?;
    let (addr, running) = secure(luck, &own, "1.3")?;
    Cast::of(addr, move |door| {
        let _alive = (&own, &running);
        door.get("/plain")
    })
}

fn alert_to_plain(luck: &mut Luck) -> Result<Cast> {
    let (addr, running) = voice_at(luck, "alert-22")?;
    Cast::of(addr, move |door| {
        let _alive = &running;
        door.get("/plain")
    })
}

fn in_tls(luck: &mut Luck, voice: &str) -> Result<Cast> {
    let (addr, running) = voice_at(luck, voice)?;
    let cast = Cast::of(addr, move |door| {
        let _alive = &running;
        door.get("/secure")
    })?;
    Ok(cast.tls(Trust::Anyone))
}

fn distrusted(luck: &mut Luck, newest: &str) -> Result<Cast> {
    let (own, other) = (Certificate::make()?, Certificate::make()?);
    let (addr, running) = secure(luck, &own, newest)?;
    let trust = Trust::Authority(other.file());
    let cast = Cast::of(addr, move |door| {
        let _alive = (&own, &other, &running);
        door.get("/distrusted")
    })?;
    Ok(cast.tls(trust))
}

/// The handshake comes about, and the server closes instead of answering.
fn closes_in_tls(luck: &mut Luck, kind: Kind) -> Result<Cast> {
    let own = Certificate::make()?;
    // Debian's Squid takes the tickets of TLS 1.3 for an error.
    let newest = if kind == Kind::Squid { "1.2" } else { "1.3" };
    let (addr, running) = secure(luck, &own, newest)?;
    let cast = Cast::of(addr, move |door| {
        let _alive = (&own, &running);
        door.good()?;
        door.get("/close")
    })?;
    Ok(cast.tls(Trust::Anyone))
}
