//! The timeout detective: it measures the idle timers of real servers and real gateways, and warns
//! of those that will collide, before any request has failed.

use std::any::Any;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::{Agent, Report, Seen};
use probe502_tests::client::{Client, next_id};
use probe502_tests::gateways::{Gateway, Kind, Plan, Server, Site};
use probe502_tests::lateness::Lateness;
use probe502_tests::skip::say;
use probe502_tests::upstream::Upstream;

/// The shorter timer, the longer one, and how late a timer may fire on a busy machine.
const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(6);
const PATIENT: Duration = Duration::from_secs(12);
const ENDLESS: Duration = Duration::from_secs(60);
const LATE: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that closes what has idled for so long.
struct Timed {
    addr: String,
    _server: Box<dyn Any>,
}

impl Timed {
    fn gateway(kind: Kind, serves: Duration) -> Result<Self> {
        let site = Site {
            rule: Some(204),
            // A rule answers: nobody is asked.
            ..Site::on("127.0.0.1", vec![Server::Tcp("127.0.0.1:9".to_owned())])?
        };
        let plan = Plan {
            sites: vec![site],
            serves: Some(serves),
            ..Plan::default()
        };
        let gateway = Gateway::start(kind, &plan)?;
        Ok(Self {
            addr: gateway.addr.to_string(),
            _server: Box::new(gateway),
        })
    }

    fn python(upstream: Upstream) -> Self {
        Self {
            addr: upstream.addr.clone(),
            _server: Box::new(upstream),
        }
    }

    fn gunicorn(serves: Duration) -> Result<Self> {
        let seconds = serves.as_secs().to_string();
        let words = ["--worker-class", "gthread", "--threads", "4"];
        let options = [&words[..], &["--keep-alive", &seconds]].concat();
        Ok(Self::python(Upstream::gunicorn(&options)?))
    }

    fn uvicorn(serves: Duration) -> Result<Self> {
        let seconds = serves.as_secs().to_string();
        let options = ["--timeout-keep-alive", &seconds, "--log-level", "warning"];
        Ok(Self::python(Upstream::uvicorn(&options)?))
    }
}

/// A gateway that keeps idle connections for [`LONG`], with a site for each of these servers.
struct Asked {
    gateway: Gateway,
    hasty: Vec<String>,
}

impl Asked {
    /// The first server is slow, the second one patient, the others are hasty.
    fn of(kind: Kind, servers: &[&Timed]) -> Result<Self> {
        let site = |server: &&Timed| Site::on("127.0.0.1", vec![Server::Tcp(server.addr.clone())]);
        let plan = Plan {
            sites: servers.iter().map(site).collect::<Result<_>>()?,
            keeps: Some(LONG),
            ..Plan::default()
        };
        let gateway = Gateway::start(kind, &plan)?;
        let hasty = servers[2..].iter().map(|server| server.addr.clone());
        let hasty = hasty.collect();
        Ok(Self { gateway, hasty })
    }

    /// Some requests at once, each on a connection of its own.
    fn asks(&self, site: usize) -> Result<()> {
        let addr = self.gateway.sites[site].addr;
        let ask = |_| std::thread::spawn(move || Client::connect(addr)?.get(&path()));
        let asked: Vec<_> = (0..4).map(ask).collect();
        for one in asked {
            let answer = one
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))??;
            ensure!((200..205).contains(&answer.status), "{}", answer.status);
        }
        Ok(())
    }

    fn asks_the_hasty(&self) -> Result<()> {
        (2..self.gateway.sites.len()).try_for_each(|site| self.asks(site))
    }

    /// Whether a warning is about this gateway.
    fn is_meant(&self, told: &Seen) -> bool {
        let listens = told.verdict.pointer("/gateway/listens");
        let listens = listens.and_then(serde_json::Value::as_array);
        let own = self.gateway.addr.to_string();
        listens.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(&own)))
    }

    /// Each of its hasty servers was warned of, with its own timer and the gateway's.
    fn was_warned(&self, agent: &Agent, lateness: &Lateness) -> Result<()> {
        for server in &self.hasty {
            let about = |seen: &Seen| seen.field("/upstream/addr") == server && self.is_meant(seen);
            let told = agent.notice(PATIENCE, about).with_context(|| {
                let name = self.gateway.kind.name();
                format!("{name}: no warning of {server}: {}", agent.messages())
            })?;
            say(&told.line);
            lateness.is_near(&told, "/timers/upstream_ms", SHORT)?;
            if is_prompt(self.gateway.kind) {
                lateness.is_near(&told, "/timers/gateway_ms", LONG)?;
            } else {
                let claimed = told.verdict.pointer("/timers/gateway_ms");
                let claimed = claimed.and_then(serde_json::Value::as_u64);
                let honest = claimed.is_none_or(|claimed| {
                    let measured = Duration::from_millis(claimed);
                    has_a_timer(self.gateway.kind) && measured >= LONG * 9 / 10
                });
                ensure!(honest, "{}", told.line);
            }
            ensure!(told.field("/confidence") == "proven", "{}", told.line);
        }
        Ok(())
    }
}

fn path() -> String {
    format!("/idle/{}", next_id())
}

fn warnings(report: &Report) -> Vec<&Seen> {
    let is_warning = |seen: &&Seen| seen.field("/schema") == "probe502.warning/1";
    report.notices.iter().filter(is_warning).collect()
}

/// `HAProxy` halves its idle pool now and then: no connection has a timer of its own.
fn has_a_timer(kind: Kind) -> bool {
    kind != Kind::Haproxy
}

/// Apache looks at a connection's age when it wants to use it again, and closes it only then: later than
/// it was told to, by as much as nobody asked.
fn is_prompt(kind: Kind) -> bool {
    has_a_timer(kind) && kind != Kind::Apache
}

/// Side by side, for timers take their time: each gateway has seen its own timer at work before its
/// hasty servers close. A server that is more patient than the gateway is not warned of.
#[test]
fn timers_that_will_collide_are_warned_of() -> Result<()> {
    if Kind::Nginx.is_missing() {
        return Ok(());
    }
    let slow = Timed::gateway(Kind::Nginx, ENDLESS)?;
    let patient = Timed::gateway(Kind::Nginx, PATIENT)?;
    let hasty = Timed::gateway(Kind::Nginx, SHORT)?;
    let (uvicorn, gunicorn) = (Timed::uvicorn(SHORT)?, Timed::gunicorn(SHORT)?);
    let mut all = vec![Asked::of(
        Kind::Nginx,
        &[&slow, &patient, &hasty, &uvicorn, &gunicorn],
    )?];
    for kind in [Kind::Envoy, Kind::Caddy, Kind::Traefik, Kind::Haproxy] {
        if !kind.is_missing() {
            let second = if has_a_timer(kind) { &patient } else { &slow };
            all.push(Asked::of(kind, &[&slow, second, &hasty])?);
        }
    }
    let apache = if Kind::Apache.is_missing() {
        None
    } else {
        all.push(Asked::of(Kind::Apache, &[&slow, &patient, &hasty])?);
        let apache = Timed::gateway(Kind::Apache, SHORT)?;
        all.push(Asked::of(Kind::Nginx, &[&slow, &patient, &apache])?);
        Some(apache)
    };
    collide(&all)?;
    drop(apache);
    Ok(())
}

fn collide(all: &[Asked]) -> Result<()> {
    let sites = all.iter().flat_map(|one| &one.gateway.sites);
    let ports: Vec<String> = sites.map(|site| site.addr.port().to_string()).collect();
    let mut options: Vec<&str> = ports.iter().flat_map(|port| ["--port", port]).collect();
    options.push("--stories");
    let agent = Agent::watch(&options)?;
    let lateness = Lateness::watch();
    all.iter().try_for_each(|one| one.asks(0))?;
    all.iter().try_for_each(|one| one.asks(1))?;
    std::thread::sleep(LONG + LATE);
    all.iter().try_for_each(|one| one.asks(0))?;
    all.iter().try_for_each(Asked::asks_the_hasty)?;
    std::thread::sleep(SHORT + LATE);
    all.iter().try_for_each(|one| one.asks(1))?;
    all.iter().try_for_each(Asked::asks_the_hasty)?;
    all.iter()
        .try_for_each(|one| one.was_warned(&agent, &lateness))?;
    let report = agent.finish()?;
    ensure!(report.verdicts.is_empty(), "{}", report.output);
    let expected: usize = all.iter().map(|one| one.hasty.len()).sum();
    ensure!(warnings(&report).len() == expected, "{}", report.output);
    Ok(())
}
