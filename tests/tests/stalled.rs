//! The upstream lives and lets the gateway wait: it does not answer, or does not even accept.

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::Seen;
use probe502_tests::cgroup::HoldingCgroup;
use probe502_tests::client::{self, Answer, next_id};
use probe502_tests::gateways::{Gateway, Kind};
use probe502_tests::running::signal;
use probe502_tests::skip::unable;
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::{Sure, Watch};

/// Gateways that give up after three seconds, as all of `gateways` do.
struct Cast {
    watch: Watch,
    gateway: Gateway,
    upstream: Upstream,
}

impl Cast {
    fn of(kind: Kind, upstream: Upstream) -> Result<Self> {
        let gateway = Gateway::before(kind, &upstream.addr)?;
        let watch = Watch::on(gateway.port(), &["--status", "502,503,504"])?;
        Ok(Self {
            watch,
            gateway,
            upstream,
        })
    }

    /// One request that a process holds, the act upon that process, and the answer.
    fn meanwhile(&self, name: &str, act: impl FnOnce(u32) -> Result<()>) -> Result<Answer> {
        let id = next_id();
        let asked = client::in_background(self.gateway.addr, format!("/fault/{name}/{id}"));
        act(self.upstream.holder(id)?)?;
        client::joined(asked)
    }

    /// The verdict must have this cause and say these words.
    fn expect(&mut self, answer: &Answer, cause: &str, words: &str) -> Result<Option<Seen>> {
        let sure = if cause == "listener.fd-exhausted" {
            Sure::Inferred
        } else {
            Sure::Proven
        };
        let seen = self.watch.expect(answer, cause, sure);
        says(seen.as_ref(), words)?;
        Ok(seen)
    }

    fn end(self) -> Result<()> {
        self.watch.end().map(drop)
    }
}

fn says(seen: Option<&Seen>, words: &str) -> Result<()> {
    let said = seen.map_or(words, |seen| seen.field("/sentence"));
    ensure!(said.contains(words), "'{said}' does not say '{words}'");
    Ok(())
}

#[test]
fn a_gunicorn_worker_that_sleeps_is_named_and_not_its_master() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut cast = Cast::of(Kind::Nginx, Upstream::gunicorn(&["--timeout", "60"])?)?;
    let answer = cast.gateway.get(&format!("/sleep/{}", next_id()))?;
    let seen = cast.expect(&answer, "app.stalled", "it waited in ")?;
    if let Some(seen) = seen {
        let pid = seen.verdict["upstream"]["pid"].as_u64().context("a pid")?;
        let workers = cast.upstream.running.descendants();
        ensure!(
            workers.contains(&u32::try_from(pid)?),
            "{pid} is none of {workers:?}"
        );
    }
    cast.end()
}

#[test]
fn a_gunicorn_worker_stuck_in_c_is_running() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut cast = Cast::of(Kind::Nginx, Upstream::gunicorn(&["--timeout", "60"])?)?;
    let answer = cast.gateway.get(&format!("/stuck/{}", next_id()))?;
    cast.expect(&answer, "app.stalled", "it was running")?;
    cast.end()
}

#[test]
fn what_it_waits_for_is_named() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut cast = Cast::of(Kind::Nginx, Upstream::faulty(&[])?)?;
    let answer = cast.meanwhile("ask-another", |_| Ok(()))?;
    let asked = cast
        .upstream
        .hears("asked ")?
        .replace("asked ", "127.0.0.1:");
    cast.expect(
        &answer,
        "app.stalled",
        &format!("it waited in recvfrom on {asked}"),
    )?;
    cast.end()
}

#[test]
fn a_stopped_process() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut cast = Cast::of(Kind::Nginx, Upstream::faulty(&[])?)?;
    let mut stopped = 0;
    let answer = cast.meanwhile("hold", |pid| {
        stopped = pid;
        signal(pid, "STOP")
    })?;
    cast.expect(&answer, "app.stalled", "it was stopped")?;
    signal(stopped, "CONT")?;
    cast.end()
}

#[test]
fn a_process_in_a_frozen_cgroup() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut cast = Cast::of(Kind::Nginx, Upstream::faulty(&[])?)?;
    let group = HoldingCgroup::frozen()?;
    let answer = cast.meanwhile("hold", |pid| group.take(pid))?;
    cast.expect(&answer, "app.stalled", "its cgroup was frozen")?;
    drop(group);
    cast.end()
}

#[test]
fn a_process_that_its_cgroup_holds_back() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let group = HoldingCgroup::throttled_to(2)?;
    let mut cast = Cast::of(Kind::Nginx, Upstream::faulty(&[])?)?;
    let answer = cast.meanwhile("spin", |pid| group.take(pid))?;
    cast.expect(&answer, "app.stalled", "its cgroup may use 0.02 processors")?;
    drop(cast);
    Ok(())
}

#[test]
fn a_listener_that_nobody_accepts_from() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut cast = Cast::of(Kind::Nginx, Upstream::faulty(&["--never-accept"])?)?;
    let answer = cast.gateway.get(&format!("/queued/{}", next_id()))?;
    cast.expect(
        &answer,
        "listener.not-accepting",
        "1 connections waited so, of 1024 that may",
    )?;
    cast.end()
}

#[test]
fn a_stopped_server_accepts_nothing() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut cast = Cast::of(Kind::Nginx, Upstream::faulty(&["--share", "threads"])?)?;
    let pid = cast.upstream.running.pid();
    signal(pid, "STOP")?;
    let answer = cast.gateway.get(&format!("/queued/{}", next_id()))?;
    cast.expect(&answer, "listener.not-accepting", "it was stopped")?;
    signal(pid, "CONT")?;
    cast.end()
}

#[test]
fn a_server_without_a_descriptor_left() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let options = ["--share", "threads", "--no-descriptors"];
    let mut cast = Cast::of(Kind::Nginx, Upstream::faulty(&options)?)?;
    let answer = cast.gateway.get(&format!("/queued/{}", next_id()))?;
    cast.upstream.hears("accept failed: 24")?;
    cast.expect(&answer, "listener.fd-exhausted", " file descriptors open")?;
    cast.end()
}

const KINDS: [Kind; 5] = [
    Kind::Haproxy,
    Kind::Apache,
    Kind::Caddy,
    Kind::Envoy,
    Kind::Traefik,
];

/// A gateway before one upstream of its own.
fn before(kind: Kind, options: &[&str]) -> Result<(Gateway, Upstream)> {
    let upstream = Upstream::faulty(options)?;
    Ok((Gateway::before(kind, &upstream.addr)?, upstream))
}

/// Its timers, its status, who closes first. Side by side, for each waits three seconds.
#[test]
fn each_gateway_gives_up_in_its_own_way() -> Result<()> {
    let kinds = KINDS.into_iter().filter(|kind| !kind.is_missing());
    let pair = |kind| Ok((before(kind, &[])?, before(kind, &["--never-accept"])?));
    let pairs = kinds.map(pair).collect::<Result<Vec<_>>>()?;
    let gateways = || pairs.iter().flat_map(|(one, other)| [&one.0, &other.0]);
    let ports: Vec<String> = gateways().map(|it| it.port().to_string()).collect();
    let Some(first) = gateways().next() else {
        return Ok(());
    };
    let options = ["--status", "502,503,504", "--port", &ports.join(",")];
    let mut watch = Watch::on(first.port(), &options)?;
    let ask = |gateway: &Gateway, folder: &str| {
        client::in_background(gateway.addr, format!("{folder}/{}", next_id()))
    };
    let asked: Vec<_> = pairs
        .iter()
        .map(|(holds, queues)| (ask(&holds.0, "/fault/hold"), ask(&queues.0, "/queued")))
        .collect();
    for (held, queued) in asked {
        let (held, queued) = (client::joined(held)?, client::joined(queued)?);
        let held = watch.expect(&held, "app.stalled", Sure::Proven);
        says(held.as_ref(), "sent nothing until the gateway gave up")?;
        let queued = watch.expect(&queued, "listener.not-accepting", Sure::Proven);
        says(queued.as_ref(), "connections waited so")?;
    }
    watch.end().map(drop)
}
