//! `gateway_says` is what the real gateway wrote: each prediction is looked for in its log.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use probe502_tests::agent::{Agent, Seen};
use probe502_tests::client::{Answer, Client, next_id};
use probe502_tests::gateways::{Gateway, Kind, Plan, Server, Site};
use probe502_tests::repertoire::fault;
use probe502_tests::skip::say;
use probe502_tests::upstream::Upstream;
use probe502_tests::watch::is_about;

/// Logs are written a little later.
const WRITTEN: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(20);

/// What an upstream can do that most gateways answer with an error.
const FAULTS: &[&str] = &[
    "close-without-answer",
    "reset-linger",
    "partial-header",
    "malformed-header",
    "header-too-big",
    "says-502",
    "segv",
];

/// Predictions and what became of them.
struct Words {
    gateway: Gateway,
    agent: Agent,
    checked: usize,
    wrong: Vec<String>,
}

impl Words {
    /// Before one upstream that breaks, two where nobody listens, and one more such.
    fn of(kind: Kind, upstream: &Upstream) -> Result<Self> {
        let dead = |port: u16| Server::Tcp(format!("127.0.0.1:{port}"));
        let sites = vec![
            Site::on("127.0.0.1", vec![Server::Tcp(upstream.addr.clone())])?,
            Site::on("127.0.0.1", vec![dead(1)])?,
            Site::on("127.0.0.1", vec![dead(2), dead(3)])?,
        ];
        let plan = Plan {
            sites,
            ..Plan::default()
        };
        Ok(Self {
            gateway: Gateway::start(kind, &plan)?,
            agent: Agent::watch(&["--status", "500,502,503,504"])?,
            checked: 0,
            wrong: Vec::new(),
        })
    }

    /// One request; where the client got an error, its verdict's words must be in the log.
    fn check(&mut self, site: usize, name: &str) -> Result<()> {
        let before = self.gateway.log();
        let before: HashSet<&str> = before.lines().collect();
        let path = format!("/fault/{name}/{}", next_id());
        let mut client = Client::connect(self.gateway.sites[site].addr)?;
        let Ok(answer) = client.get(&path) else {
            return Ok(());
        };
        if answer.status < 500 {
            return Ok(());
        }
        let Some(seen) = self.verdict(&answer) else {
            self.wrong.push(format!("{name}: no verdict"));
            return Ok(());
        };
        let lines = says(&seen);
        if lines.is_empty() {
            return Ok(());
        }
        self.checked += 1;
        let written = || {
            let log = self.gateway.log();
            let new = log.lines().filter(|line| !before.contains(line));
            new.collect::<Vec<_>>().join("\n")
        };
        let deadline = Instant::now() + WRITTEN;
        while !lines.iter().any(|line| is_in(line, &written(), &path)) {
            if Instant::now() > deadline {
                let log = written();
                let cause = seen.field("/cause");
                self.wrong
                    .push(format!("{name} ({cause}): none of {lines:?} in\n{log}"));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        say(&format!(
            "{:15} {name:22} {:30} {lines:?}",
            self.gateway.kind.name(),
            seen.field("/cause")
        ));
        Ok(())
    }

    fn verdict(&self, answer: &Answer) -> Option<Seen> {
        self.agent.verdict(PATIENCE, |seen| is_about(seen, answer))
    }
}

fn says(seen: &Seen) -> Vec<String> {
    let said = seen.verdict["gateway_says"].as_array();
    let said = said.into_iter().flatten();
    said.filter_map(|line| line.as_str().map(str::to_owned))
        .collect()
}

/// Whether a line holds all parts of the words in their order; the line of this very request, where
/// the log names requests.
fn is_in(words: &str, log: &str, path: &str) -> bool {
    let of_request = |line: &&str| line.contains(path);
    let any = log.lines().any(|line| of_request(&line));
    log.lines()
        .filter(|line| !any || of_request(line) || line.contains(" AH"))
        .any(|line| holds(line, words))
}

fn holds(mut line: &str, words: &str) -> bool {
    words.split('…').map(str::trim).all(|part| {
        let found = line.find(part);
        line = found.map_or("", |at| &line[at + part.len()..]);
        found.is_some()
    })
}

/// At least so many predictions of this gateway were made, and all came true.
fn speaks(kind: Kind, least: usize) -> Result<()> {
    if kind.is_missing() {
        return Ok(());
    }
    let upstream = Upstream::faulty(&[])?;
    let mut words = Words::of(kind, &upstream)?;
    for name in FAULTS {
        debug_assert_eq!(fault(name).name, *name);
        words.check(0, name)?;
    }
    words.check(1, "refused")?;
    words.check(2, "refused-twice")?;
    words.check(2, "no-live")?;
    let Words {
        gateway,
        checked,
        wrong,
        ..
    } = words;
    drop(gateway);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(checked >= least, "only {checked} lines were foretold");
    Ok(())
}

#[test]
fn nginx() -> Result<()> {
    speaks(Kind::Nginx, 8)
}

#[test]
fn nginx_of_another_root() -> Result<()> {
    speaks(Kind::NginxTrixie, 8)
}

#[test]
fn haproxy() -> Result<()> {
    speaks(Kind::Haproxy, 5)
}

#[test]
fn haproxy_of_another_root() -> Result<()> {
    speaks(Kind::HaproxyTrixie, 5)
}

#[test]
fn apache() -> Result<()> {
    speaks(Kind::Apache, 5)
}

#[test]
fn caddy() -> Result<()> {
    speaks(Kind::Caddy, 5)
}

#[test]
fn envoy() -> Result<()> {
    speaks(Kind::Envoy, 6)
}

#[test]
fn traefik() -> Result<()> {
    speaks(Kind::Traefik, 5)
}
