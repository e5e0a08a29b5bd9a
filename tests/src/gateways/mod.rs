//! Ten real gateways, each behind the same few wishes: these sites, before these upstreams.

mod apache;
mod caddy;
mod envoy;
mod ground;
mod haproxy;
mod kind;
mod nginx;
mod squid;
mod traefik;
pub mod trixie;
mod varnish;

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::{Answer, Client};
use crate::netns::Netns;
use crate::nginx::free_port;
use crate::running::Running;
use ground::Ground;
pub use kind::Kind;

/// How long a gateway may take to connect.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it waits for the upstream's answer.
pub const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// One upstream server.
#[derive(Clone, Debug)]
pub enum Server {
    /// `host:port`.
    Tcp(String),
    /// The path of a UNIX socket, as this process sees it.
    Unix(PathBuf),
}

/// Whom a gateway believes in a TLS handshake.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Anyone.
    Anyone,
    /// Who shows a certificate for `shop.test` from the authority in this file.
    Authority(PathBuf),
}

/// What a gateway speaks with its upstreams.
#[derive(Clone, Debug, Default)]
pub enum Speaks {
    /// HTTP/1.1.
    #[default]
    Http,
    /// `FastCGI`: this script is to be run for every request.
    Fastcgi(PathBuf),
    /// uWSGI's own protocol.
    Uwsgi,
}

/// A listening address and what stands behind it.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where clients reach it.
    pub addr: SocketAddr,
    /// Its upstream servers.
    pub servers: Vec<Server>,
    /// Speaks TLS to them.
    pub tls: Option<Trust>,
    /// Asks nobody: a rule answers with this status.
    pub rule: Option<u16>,
}

impl Site {
    /// On a free port of this address.
    ///
    /// # Errors
    /// When the address is not ours.
    pub fn on(host: &str, servers: Vec<Server>) -> Result<Self> {
        let addr = SocketAddr::new(host.parse()?, free_port(host)?);
        Ok(Self {
            addr,
            servers,
            tls: None,
            rule: None,
        })
    }
}

/// What a test wants of a gateway.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What it serves; the first site is where [`Gateway::addr`] is.
    pub sites: Vec<Site>,
    /// The name of the network namespace to run in.
    pub netns: Option<String>,
    /// The only processor that it may run on.
    pub cpu: Option<u32>,
    /// How many descriptors each of its processes may have.
    pub descriptors: Option<u32>,
    /// How long it waits for an answer, if not [`READ_TIMEOUT`].
    pub patience: Option<Duration>,
    /// It leaves servers alone that failed, where it does so only on demand.
    pub marks_down: bool,
    /// How often it checks each of several servers, if not twice a second: `HAProxy` only.
    pub checks: Option<Duration>,
    /// What it speaks with its upstreams; nginx and Apache speak more than HTTP.
    pub speaks: Speaks,
    /// How long it keeps an idle connection to an upstream, if not as long as it does by default.
    pub keeps: Option<Duration>,
    /// Whenever it connects to anyone by TCP, its host refuses with this errno.
    pub denied: Option<u16>,
    /// How long it keeps an idle client, where it is an upstream itself.
    pub serves: Option<Duration>,
}

impl Plan {
    /// How long it waits for an answer, in seconds.
    fn wait(&self) -> u64 {
        self.patience.unwrap_or(READ_TIMEOUT).as_secs()
    }
}

/// A running gateway: keeps connections to its upstreams alive, connects within
/// [`CONNECT_TIMEOUT`], waits [`READ_TIMEOUT`], tries again as it does by default.
pub struct Gateway {
    /// Which.
    pub kind: Kind,
    /// Where clients reach its first site.
    pub addr: SocketAddr,
    /// What it serves.
    pub sites: Vec<Site>,
    running: Running,
    dir: PathBuf,
    logs: Vec<PathBuf>,
}

/// How to start one: its words, and the files that it logs to, besides its output.
struct Recipe {
    words: Vec<String>,
    logs: Vec<PathBuf>,
}

impl Gateway {
    /// Of one upstream, on loopback.
    ///
    /// # Errors
    /// When it does not start.
    pub fn before(kind: Kind, upstream: &str) -> Result<Self> {
        let site = Site::on("127.0.0.1", vec![Server::Tcp(upstream.to_owned())])?;
        let plan = Plan {
            sites: vec![site],
            ..Plan::default()
        };
        Self::start(kind, &plan)
    }

    /// Starts and waits until every site accepts.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub fn start(kind: Kind, plan: &Plan) -> Result<Self> {
        let first = plan.sites.first().context("a gateway without a site")?;
        let ground = Ground::make(kind, plan)?;
        let recipe = recipe(kind, &ground)?;
        let mut words = around(kind, plan)?;
        words.extend(recipe.words);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&ground.dir);
        command.env("HOME", &ground.inside);
        let gateway = Self {
            kind,
            addr: first.addr,
            sites: plan.sites.clone(),
            running: Running::start(&mut command)?,
            dir: ground.dir,
            logs: recipe.logs,
        };
        gateway.wait_ready()?;
        Ok(gateway)
    }

    fn wait_ready(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.is_ready() {
            if Instant::now() > deadline || self.running.is_over() {
                bail!("{} did not start: {}", self.kind.name(), self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let patience = Duration::from_secs(1);
        let accepts = |site: &Site| TcpStream::connect_timeout(&site.addr, patience).is_ok();
        // Traefik accepts before it has read its routes, and then answers 404.
        let routes = || self.kind != Kind::Traefik || traefik::is_ready(self.addr);
        self.sites.iter().all(accepts) && routes()
    }

    /// The port of its first site.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The process that was started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// That process and all its descendants.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        std::iter::once(self.pid())
            .chain(self.running.descendants())
            .collect()
    }

    /// All that it said and logged.
    #[must_use]
    pub fn log(&self) -> String {
        let mut said = self.running.out.text() + &self.running.err.text();
        for file in &self.logs {
            said += &std::fs::read_to_string(file).unwrap_or_default();
        }
        if self.kind == Kind::Varnish {
            said += &varnish::log(&self.dir);
        }
        said
    }

    /// A new client connection to its first site.
    ///
    /// # Errors
    /// When it does not accept.
    pub fn client(&self) -> Result<Client> {
        Client::connect(self.addr)
    }

    /// One GET on a connection of its own.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.client()?.get(path)
    }

    /// One POST on a connection of its own.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn post(&self, path: &str) -> Result<Answer> {
        self.client()?.post(path)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // TERM drains in some of them; a test has no request left that is worth it.
        let _ = self.running.end("TERM", Duration::from_millis(1500));
        let family = self.running.descendants();
        let _ = self.running.end("KILL", Duration::from_secs(1));
        for pid in family {
            let _ = crate::running::signal(pid, "KILL");
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn recipe(kind: Kind, ground: &Ground) -> Result<Recipe> {
    match kind {
        Kind::Nginx | Kind::NginxTrixie => nginx::recipe(ground),
        Kind::Haproxy | Kind::HaproxyTrixie => haproxy::recipe(ground),
        Kind::Apache => apache::recipe(ground),
        Kind::Caddy => caddy::recipe(ground),
        Kind::Envoy => envoy::recipe(ground),
        Kind::Traefik => traefik::recipe(ground),
        Kind::Varnish => varnish::recipe(ground),
        Kind::Squid => squid::recipe(ground),
    }
}

/// The words before its own: each program replaces itself by the next.
fn around(kind: Kind, plan: &Plan) -> Result<Vec<String>> {
    let mut words = Vec::new();
    if let Some(name) = &plan.netns {
        words.extend(Netns::prefix(name));
    }
    if let Some(cpu) = plan.cpu {
        words.extend(["taskset".into(), "-c".into(), cpu.to_string()]);
    }
    if let Some(most) = plan.descriptors {
        words.extend(["prlimit".into(), format!("--nofile={most}:{most}")]);
    }
    if let Some(errno) = plan.denied {
        let program = crate::upstream::programs().join("denied.py");
        let program = program.display().to_string();
        words.extend(["/usr/bin/python3".into(), program, errno.to_string()]);
    }
    words.extend(kind.entered()?);
    Ok(words)
}
