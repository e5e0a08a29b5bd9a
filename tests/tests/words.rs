//! `gateway_says` is what the real gateway wrote: each prediction is looked for in its log.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use probe502_tests::agent::{Agent, Seen};
use probe502_tests::client::{Client, next_id};
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

/// What it can do within an answer's body.
const CUTS: &[&str] = &["cut-close", "cut-chunked", "cut-reset"];

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
            agent: Agent::watch(&["--status", "500,502,503,504", "--silent"])?,
            checked: 0,
            wrong: Vec::new(),
        })
    }

    /// One request; where the client got an error, its verdict's words must be in the log.
    fn check(&mut self, site: usize, name: &str) -> Result<()> {
        let before = self.gateway.log();
        let path = format!("/fault/{name}/{}", next_id());
        let mut client = Client::connect(self.gateway.sites[site].addr)?;
        match client.get(&path) {
            Ok(answer) if answer.status >= 500 => {
                let seen = self.verdict(|seen| is_about(seen, &answer));
                self.compare((name, &path), seen, &before);
            }
            Ok(_) | Err(_) => {}
        }
        Ok(())
    }

    /// One whose answer breaks off: only its verdict tells that it failed.
    fn check_cut(&mut self, cut: Cut) -> Result<()> {
        let Ok(read) = cut.client.join() else {
            bail!("a client panicked");
        };
        read?;
        let seen = self.verdict(|seen| seen.field("/request/path") == cut.path);
        self.compare((cut.name, &cut.path), seen, &cut.before);
        Ok(())
    }

    /// A verdict's words must be among the log's new lines.
    fn compare(&mut self, (name, path): (&str, &str), seen: Option<Seen>, before: &str) {
        let Some(seen) = seen else {
            self.wrong.push(format!("{name}: no verdict"));
            return;
        };
        let lines = says(&seen);
        if lines.is_empty() {
            return;
        }
        self.checked += 1;
        let before: HashSet<&str> = before.lines().collect();
        let written = || {
            let log = self.gateway.log();
            let new = log.lines().filter(|line| !before.contains(line));
            new.collect::<Vec<_>>().join("\n")
        };
        let deadline = Instant::now() + WRITTEN;
        while !lines.iter().any(|line| is_in(line, &written(), path)) {
            if Instant::now() > deadline {
                let log = written();
                let cause = seen.field("/cause");
                self.wrong
                    .push(format!("{name} ({cause}): none of {lines:?} in\n{log}"));
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        say(&format!(
            "{:15} {name:22} {:30} {lines:?}",
            self.gateway.kind.name(),
            seen.field("/cause")
        ));
    }

    fn verdict(&self, fits: impl Fn(&Seen) -> bool) -> Option<Seen> {
        self.agent.verdict(PATIENCE, fits)
    }
}

/// A request whose answer will break off, and what the log held before.
struct Cut {
    name: &'static str,
    path: String,
    before: String,
    client: JoinHandle<std::io::Result<()>>,
}

impl Cut {
    fn ask(name: &'static str, gateway: &Gateway) -> Self {
        let (before, addr) = (gateway.log(), gateway.addr);
        let path = format!("/fault/{name}/{}", next_id());
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n");
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(addr)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(request.as_bytes())?;
            // However it ends.
            let _ = stream.read_to_end(&mut Vec::new());
            Ok(())
        });
        Self {
            name,
            path,
            before,
            client,
        }
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
    // It waits while the others are looked at.
    let waits = ![Kind::Caddy, Kind::Traefik].contains(&kind);
    let stalled = waits.then(|| Cut::ask("cut-stall", &words.gateway));
    for name in FAULTS {
        debug_assert_eq!(fault(name).name, *name);
        words.check(0, name)?;
    }
    for name in CUTS {
        words.check_cut(Cut::ask(name, &words.gateway))?;
    }
    words.check(1, "refused")?;
    words.check(2, "refused-twice")?;
    words.check(2, "no-live")?;
    if let Some(stalled) = stalled {
        words.check_cut(stalled)?;
    }
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
    speaks(Kind::Nginx, 11)
}

#[test]
fn nginx_of_another_root() -> Result<()> {
    speaks(Kind::NginxTrixie, 11)
}

#[test]
fn haproxy() -> Result<()> {
    speaks(Kind::Haproxy, 8)
}

#[test]
fn haproxy_of_another_root() -> Result<()> {
    speaks(Kind::HaproxyTrixie, 8)
}

#[test]
fn apache() -> Result<()> {
    speaks(Kind::Apache, 8)
}

#[test]
fn caddy() -> Result<()> {
    speaks(Kind::Caddy, 8)
}

#[test]
fn envoy() -> Result<()> {
    speaks(Kind::Envoy, 9)
}

#[test]
fn traefik() -> Result<()> {
    speaks(Kind::Traefik, 8)
}
