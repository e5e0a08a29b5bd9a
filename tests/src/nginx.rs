//! Debian's nginx with a configuration of our own: two workers, a keep-alive pool to the upstream.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::client::{Answer, Client};
use crate::netns::Netns;
use crate::running::Running;

/// What a test may want otherwise.
#[derive(Clone)]
pub struct Plan {
    /// The address to listen on.
    pub host: String,
    /// `host:port` of each upstream server.
    pub upstreams: Vec<String>,
    /// HTTP/1.1 and a pool to the upstream; otherwise a connection a request.
    pub pooled: bool,
    /// The only processor that it may run on.
    pub cpu: Option<u32>,
    /// The name of the network namespace to run in.
    pub netns: Option<String>,
    /// The name server to ask for the first upstream's name at each request.
    pub resolver: Option<String>,
}

impl Plan {
    /// The usual gateway of one upstream, on loopback.
    #[must_use]
    pub fn before(upstream: &str) -> Self {
        let host = "127.0.0.1".to_owned();
        Self {
            host,
            upstreams: vec![upstream.to_owned()],
            pooled: true,
            cpu: None,
            netns: None,
            resolver: None,
        }
    }
}

/// A running gateway.
pub struct Nginx {
    /// Where clients reach it.
    pub addr: SocketAddr,
    running: Running,
    dir: PathBuf,
}

impl Nginx {
    /// The usual gateway of one upstream, on loopback.
    ///
    /// # Errors
    /// When nginx does not start.
    pub fn before(upstream: &str) -> Result<Self> {
        Self::start(&Plan::before(upstream))
    }

    /// Starts and waits until it accepts.
    ///
    /// # Errors
    /// When nginx does not start.
    pub fn start(plan: &Plan) -> Result<Self> {
        let addr = SocketAddr::new(plan.host.parse()?, free_port(&plan.host)?);
        let dir = std::env::temp_dir().join(format!(
            "probe502-nginx-{}-{}",
            std::process::id(),
            addr.port()
        ));
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("nginx.conf"), configuration(plan, addr)?)?;
        let running = Running::start(command(plan).arg("-p").arg(&dir).args([
            "-e",
            "error.log",
            "-c",
            "nginx.conf",
        ]))?;
        let nginx = Self { addr, running, dir };
        nginx.wait_ready()?;
        Ok(nginx)
    }

    fn wait_ready(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect_timeout(&self.addr, Duration::from_secs(1)).is_err() {
            if Instant::now() > deadline {
                bail!(
                    "nginx did not start: {}{}",
                    self.running.err.text(),
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The port that clients dial.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The master and its workers.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        std::iter::once(self.running.pid())
            .chain(self.running.descendants())
            .collect()
    }

    /// Its error log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("error.log")).unwrap_or_default()
    }

    /// A new client connection.
    ///
    /// # Errors
    /// When nginx does not accept.
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

impl Drop for Nginx {
    fn drop(&mut self) {
        // TERM is nginx's fast shutdown: no connection is drained.
        let _ = self.running.end("TERM", Duration::from_secs(3));
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn command(plan: &Plan) -> Command {
    let mut words: Vec<String> = Vec::new();
    if let Some(name) = &plan.netns {
        words.extend(Netns::prefix(name));
    }
    if let Some(cpu) = plan.cpu {
        words.extend(["taskset".into(), "-c".into(), cpu.to_string()]);
    }
    words.push("/usr/sbin/nginx".into());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

fn configuration(plan: &Plan, addr: SocketAddr) -> Result<String> {
    let mut servers = String::new();
    for upstream in &plan.upstreams {
        writeln!(servers, "    server {upstream};")?;
    }
    let (pool, version, connection) = if plan.pooled {
        ("keepalive 16;", "1.1", "\"\"")
    } else {
        ("", "1.0", "close")
    };
    let target = match (&plan.resolver, plan.upstreams.first()) {
        (Some(server), Some(name)) => {
            servers = "    server 127.0.0.1:1;\n".to_owned();
            format!(
                "resolver {server} ipv6=off; resolver_timeout 2s; set $name {name};
      proxy_pass http://$name;"
            )
        }
        (_, _) => "proxy_pass http://service;".to_owned(),
    };
    Ok(format!(
        "daemon off; worker_processes 2; pid nginx.pid; user nobody nogroup; worker_rlimit_core 0;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  upstream service {{
{servers}    {pool}
  }}
  server {{
    listen {addr} backlog=4096;
    location / {{
      {target}
      proxy_http_version {version}; proxy_set_header Connection {connection};
      proxy_connect_timeout 2s; proxy_read_timeout 8s; proxy_buffer_size 4k;
    }}
  }}
}}
"
    ))
}

/// Below what Linux gives to those who dial (`net.ipv4.ip_local_port_range`): else a connection may have taken
/// it before it is listened on.
const PORTS: std::ops::Range<u16> = 10_240..32_000;

/// A port that nobody has, and that no other call gives.
///
/// # Errors
/// When the address is not ours, or every port is taken.
pub fn free_port(host: &str) -> Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let any = if host.contains(':') {
        "::1"
    } else {
        "127.0.0.1"
    };
    let count = u32::from(PORTS.end - PORTS.start);
    // Other tests' processes begin elsewhere.
    let first = std::process::id().wrapping_mul(2_654_435_761) % count;
    for _ in 0..count {
        let next = GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + u16::try_from((first + next) % count)?;
        if TcpListener::bind((any, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free on {any}")
}
