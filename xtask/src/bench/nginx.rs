//! Two nginx of our own: the gateway that is measured, and the upstream behind it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Both servers; they end when this is dropped.
pub struct Servers {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// The upstream's port.
    pub upstream: u16,
    gateway_process: Child,
    upstream_process: Child,
    _folders: [TempDir; 2],
}

impl Servers {
    /// Starts both. The gateway has a processor of its own where there are two.
    pub fn start() -> Result<Self> {
        let ports = free_ports(3)?;
        let [gateway, upstream, refused] = ports[..] else {
            bail!("no three free ports")
        };
        let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
        let behind = format!(
            "server {{
                 listen 127.0.0.1:{upstream};
                 location / {{ return 200 \"hello\\n\"; }}
                 location /closed {{ return 444; }}
                 location /reset {{ reset_timedout_connection on; return 444; }}
             }}"
        );
        let upstream_process = nginx(folders[0].path(), &behind, others())?;
        let before = format!(
            "upstream good {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
             split_clients $request_id $one_in_ten {{ 10% 127.0.0.1:{refused}; * good; }}
             server {{
                 listen 127.0.0.1:{gateway};
                 location / {{
                     proxy_pass http://good; proxy_http_version 1.1; proxy_set_header Connection \"\";
                 }}
                 location /refused {{ proxy_pass http://127.0.0.1:{refused}; }}
                 location /closed {{ proxy_pass http://127.0.0.1:{upstream}; }}
                 location /reset {{ proxy_pass http://127.0.0.1:{upstream}; }}
                 location /mixed {{
                     proxy_pass http://$one_in_ten; proxy_http_version 1.1; proxy_set_header Connection \"\";
                 }}
                 location = /requests {{ stub_status; }}
             }}"
        );
        let gateway_process = nginx(folders[1].path(), &before, own())?;
        let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway));
        let servers = Self {
            gateway,
            upstream,
            gateway_process,
            upstream_process,
            _folders: folders,
        };
        for port in [upstream, servers.gateway.port()] {
            wait_for(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        }
        Ok(servers)
    }

    /// The gateway's first process; the workers are its children.
    pub fn gateway_pid(&self) -> u32 {
        self.gateway_process.id()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for process in [&mut self.gateway_process, &mut self.upstream_process] {
            if let Ok(id) = i32::try_from(process.id()) {
                // Failing means that it has ended: nothing is left to end.
                let _ = Pid::from_raw(id).map(|pid| kill_process(pid, Signal::TERM));
            }
            let _ = process.wait();
        }
    }
}

/// Processor 1 for the gateway, 0 for the rest: which of them shares a cache or a queue with whom
/// must not change between the runs.
fn own() -> u8 {
    if several() { 0b10 } else { 0b1 }
}

fn others() -> u8 {
    0b1
}

fn several() -> bool {
    std::thread::available_parallelism().is_ok_and(|count| count.get() > 1)
}

fn nginx(folder: &Path, servers: &str, processors: u8) -> Result<Child> {
    let at = folder.display();
    let text = format!(
        "daemon off; user root; pid {at}/pid; error_log {at}/error.log emerg;
         worker_processes 1; worker_cpu_affinity {processors:b};
         events {{ worker_connections 4096; }}
         http {{
             access_log off; keepalive_requests 1000000000;
             client_body_temp_path {at}/1; proxy_temp_path {at}/2; fastcgi_temp_path {at}/3;
             uwsgi_temp_path {at}/4; scgi_temp_path {at}/5;
             {servers}
         }}"
    );
    let configuration = folder.join("nginx.conf");
    std::fs::write(&configuration, text)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command
        .arg("-e")
        .arg(folder.join("error.log"))
        .arg("-c")
        .arg(&configuration);
    command
        .stdin(Stdio::null())
        .spawn()
        .context("cannot run /usr/sbin/nginx")
}

fn wait_for(addr: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(addr).is_err() {
        if Instant::now() > deadline {
            bail!("nginx does not listen at {addr}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Below the ephemeral range: among thousands of connects a second to a closed port of that range,
/// some get the same port as their source and meet themselves.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let ports: Vec<u16> = (20502..30000).filter(free).take(count).collect();
    if ports.len() < count {
        bail!("no free ports between 20502 and 30000");
    }
    Ok(ports)
}
