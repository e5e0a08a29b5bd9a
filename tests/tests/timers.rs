//! The timeout detective: it measures the idle timers of real servers and real gateways, and warns
//! of those that will collide, before any request has failed.

use std::any::Any;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::{Agent, Report, Seen};
use probe502_tests::client::{Client, next_id};
use probe502_tests::gateways::{Gateway, Kind, Plan, Server, Site};
use probe502_tests::skip::say;
use probe502_tests::upstream::Upstream;

/// The shorter timer, the longer one, and how late a timer may fire on a busy machine.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(2);
const PATIENT: Duration = Duration::from_secs(4);
const ENDLESS: Duration = Duration::from_secs(60);
const LATE: Duration = Duration::from_millis(700);
/// Where the server itself comes late, in milliseconds.
const STARVED: u64 = 100;
const SOON: Duration = Duration::from_secs(4);

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

/// A gateway that keeps idle connections so long, a site for each of these servers, and its agent.
struct Cast {
    gateway: Gateway,
    agent: Agent,
}

impl Cast {
    fn of(kind: Kind, keeps: Duration, servers: &[&Timed]) -> Result<Self> {
        let site = |server: &&Timed| Site::on("127.0.0.1", vec![Server::Tcp(server.addr.clone())]);
        let plan = Plan {
            sites: servers.iter().map(site).collect::<Result<_>>()?,
            keeps: Some(keeps),
            ..Plan::default()
        };
        let gateway = Gateway::start(kind, &plan)?;
        let ports = plan.sites.iter().map(|site| site.addr.port().to_string());
        let ports: Vec<String> = ports.collect();
        let mut options: Vec<&str> = ports.iter().flat_map(|port| ["--port", port]).collect();
        options.push("--stories");
        let agent = Agent::watch(&options)?;
        Ok(Self { gateway, agent })
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

    /// All of the hasty servers, which stand behind the first two sites.
    fn asks_all(&self, count: usize) -> Result<()> {
        (2..count + 2).try_for_each(|site| self.asks(site))
    }

    fn end(self) -> Result<Report> {
        let report = self.agent.finish()?;
        ensure!(report.verdicts.is_empty(), "{}", report.output);
        Ok(report)
    }
}

fn path() -> String {
    format!("/idle/{}", next_id())
}

fn warnings(report: &Report) -> Vec<&Seen> {
    let is_warning = |seen: &&Seen| seen.field("/schema") == "probe502.warning/1";
    report.notices.iter().filter(is_warning).collect()
}

fn near(told: &Seen, pointer: &str, expected: Duration) -> Result<()> {
    let measured = told.verdict.pointer(pointer);
    let measured = measured.and_then(serde_json::Value::as_u64);
    let expected = u64::try_from(expected.as_millis())?;
    let (least, most) = (expected - expected / 10, expected + expected / 10 + STARVED);
    let right = measured.is_some_and(|measured| (least..=most).contains(&measured));
    ensure!(right, "{pointer} is not {expected}: {}", told.line);
    Ok(())
}

/// Each of these hasty servers is warned of, with its own timer and the gateway's, which was seen at
/// work before; a server that is more patient than the gateway is not.
fn warns(kind: Kind, hasty: &[Timed]) -> Result<()> {
    let slow = Timed::gateway(Kind::Nginx, ENDLESS)?;
    let patience = if has_a_timer(kind) { PATIENT } else { ENDLESS };
    let patient = Timed::gateway(Kind::Nginx, patience)?;
    let servers: Vec<&Timed> = [&slow, &patient].into_iter().chain(hasty).collect();
    let cast = Cast::of(kind, LONG, &servers)?;
    cast.asks(0)?;
    cast.asks(1)?;
    std::thread::sleep(LONG + LATE);
    cast.asks(0)?;
    cast.asks_all(hasty.len())?;
    std::thread::sleep(SHORT + LATE);
    cast.asks(1)?;
    cast.asks_all(hasty.len())?;
    for server in hasty {
        let about = |seen: &Seen| seen.field("/upstream/addr") == server.addr;
        let told = cast.agent.notice(SOON, about);
        let told = told.with_context(|| format!("no warning: {}", cast.agent.messages()))?;
        say(&told.line);
        near(&told, "/timers/upstream_ms", SHORT)?;
        if is_prompt(kind) {
            near(&told, "/timers/gateway_ms", LONG)?;
        }
        ensure!(told.field("/confidence") == "proven", "{}", told.line);
    }
    let report = cast.end()?;
    ensure!(warnings(&report).len() == hasty.len(), "{}", report.output);
    Ok(())
}

/// `HAProxy` halves its idle pool now and then: no connection has a timer of its own.
fn has_a_timer(kind: Kind) -> bool {
    kind != Kind::Haproxy
}

/// Apache looks at a connection's age when it wants to use it again, and closes it only then.
fn is_prompt(kind: Kind) -> bool {
    has_a_timer(kind) && kind != Kind::Apache
}

#[test]
fn real_servers_before_nginx() -> Result<()> {
    if Kind::Nginx.is_missing() {
        return Ok(());
    }
    let hasty = [
        Timed::uvicorn(SHORT)?,
        Timed::gunicorn(SHORT)?,
        Timed::gateway(Kind::Apache, SHORT)?,
        Timed::gateway(Kind::Nginx, SHORT)?,
    ];
    warns(Kind::Nginx, &hasty)
}

fn behind(kind: Kind) -> Result<()> {
    if kind.is_missing() {
        return Ok(());
    }
    warns(kind, &[Timed::gateway(Kind::Nginx, SHORT)?])
}

#[test]
fn behind_haproxy() -> Result<()> {
    behind(Kind::Haproxy)
}

#[test]
fn behind_envoy() -> Result<()> {
    behind(Kind::Envoy)
}

#[test]
fn behind_caddy() -> Result<()> {
    behind(Kind::Caddy)
}

#[test]
fn behind_traefik() -> Result<()> {
    behind(Kind::Traefik)
}

#[test]
fn behind_apache() -> Result<()> {
    behind(Kind::Apache)
}
