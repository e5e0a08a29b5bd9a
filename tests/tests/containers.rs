//! A gateway in one container and its upstream in another, each made by a real runtime as its platform
//! has it made.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use probe502_tests::agent::Seen;
use probe502_tests::client::{Answer, Client, next_id};
use probe502_tests::container::{Container, Hierarchy, Recipe, id, unable};
use probe502_tests::netns::Netns;
use probe502_tests::nginx::free_port;
use probe502_tests::paths::Folder;
use probe502_tests::schema;
use probe502_tests::watch::{Sure, Watch};

/// The limit of the upstreams' containers.
const LIMIT: u64 = 64 << 20;

fn uid() -> String {
    format!("0b5e4c2a-7f1d-4c39-9a52-{:012x}", next_id() + (1 << 40))
}

struct Pair {
    // The gateway ends before its upstream.
    gateway: Container,
    _upstream: Container,
    _netns: Netns,
    addr: SocketAddr,
}

impl Pair {
    /// Runtime and cgroup of the gateway, then of the upstream.
    fn start(hierarchy: Hierarchy, gateway: (&str, &str), upstream: (&str, &str)) -> Result<Self> {
        let netns = Netns::make()?;
        let (host, port) = (netns.host(), free_port("127.0.0.1")?);
        let recipe = Recipe {
            runtime: upstream.0,
            hierarchy,
            cgroup: upstream.1,
            netns: Some(&netns.name),
            // Its controller is v1's where the host has both.
            memory: (hierarchy == Hierarchy::V1).then_some(LIMIT),
            words: &[],
        };
        let upstream = Container::faulty(Folder::make()?, &recipe, (&host, port))?;
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port("127.0.0.1")?));
        let folder = Folder::make()?;
        std::fs::write(
            folder.path("nginx.conf"),
            configuration(addr, &format!("{host}:{port}")),
        )?;
        let prefix = folder.path("");
        let prefix = prefix.to_str().context("a path of text")?;
        let recipe = Recipe {
            runtime: gateway.0,
            hierarchy,
            cgroup: gateway.1,
            netns: None,
            memory: None,
            words: &[
                "/usr/sbin/nginx",
                "-p",
                prefix,
                "-e",
                "error.log",
                "-c",
                "nginx.conf",
            ],
        };
        let pair = Self {
            gateway: Container::start(folder, &recipe)?,
            _upstream: upstream,
            _netns: netns,
            addr,
        };
        pair.wait_ready()?;
        Ok(pair)
    }

    fn wait_ready(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.addr).is_err() {
            if Instant::now() > deadline {
                bail!("no gateway: {}", self.gateway.running.err.text());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn fault(&self, name: &str) -> Result<Answer> {
        Client::connect(self.addr)?.get(&format!("/fault/{name}/{}", next_id()))
    }
}

fn configuration(addr: SocketAddr, upstream: &str) -> String {
    format!(
        "daemon off; worker_processes 1; pid nginx.pid; user nobody nogroup;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{
    listen {addr};
    location / {{ proxy_pass http://{upstream}; }}
  }}
}}
"
    )
}

fn are(seen: &Seen, fields: &[(&str, &str)]) -> Result<()> {
    for (pointer, wanted) in fields {
        ensure!(
            seen.field(pointer) == *wanted,
            "{pointer} is not '{wanted}': {}",
            seen.line
        );
    }
    Ok(())
}

#[test]
fn a_pods_container_is_killed_at_its_limit_behind_dockers_nginx() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let (docker, bare, uid) = (id(), id(), uid());
    let path = format!("/kubepods/burstable/pod{uid}/{bare}");
    let pair = Pair::start(
        Hierarchy::V1,
        ("crun", &format!("/system.slice/docker-{docker}.scope")),
        ("runc", &path),
    )?;
    let mut watch = Watch::on(pair.addr.port(), &[])?;
    let answer = pair.fault("oom")?;
    let seen = watch.expect(&answer, "process.oom.cgroup", Sure::Proven);
    if let Some(seen) = &seen {
        are(
            seen,
            &[
                ("/gateway/container", &docker),
                ("/gateway/runtime", "docker"),
                ("/gateway/command", "nginx: […]"),
                ("/upstream/container", &bare),
                // Its path does not say who made it.
                ("/upstream/runtime", ""),
                ("/upstream/pod", &uid),
                ("/upstream/unit", ""),
                ("/upstream/command", "/usr/bin/python3 […]"),
            ],
        )?;
        schema::check("verdict", &format!("{}\n", seen.line))?;
        let remedy = format!("raise the memory limit of {path} above 64 MiB");
        ensure!(
            seen.field("/remedy").contains(&remedy),
            "no '{remedy}': {}",
            seen.line
        );
        ensure!(
            seen.line.contains("cgroup limit (64 MiB)"),
            "no limit: {}",
            seen.line
        );
    }
    watch.end().map(drop)
}

#[test]
fn each_runtime_is_named_by_the_paths_that_it_gives() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let uid = uid();
    let slice = format!(
        "/kubepods.slice/kubepods-pod{}.slice",
        uid.replace('-', "_")
    );
    let (containerd, crio) = (format!("{slice}/cri-containerd-"), format!("{slice}/crio-"));
    for (hierarchy, gateway, upstream) in [
        (
            Hierarchy::V2,
            ("runc", "/machine.slice/libpod-", ".scope", "podman", ""),
            ("crun", "/docker/", "", "docker", ""),
        ),
        (
            Hierarchy::V1,
            (
                "crun",
                containerd.as_str(),
                ".scope",
                "containerd",
                uid.as_str(),
            ),
            ("runc", crio.as_str(), ".scope", "cri-o", uid.as_str()),
        ),
    ] {
        let (one, other) = (id(), id());
        let pair = Pair::start(
            hierarchy,
            (gateway.0, &format!("{}{one}{}", gateway.1, gateway.2)),
            (upstream.0, &format!("{}{other}{}", upstream.1, upstream.2)),
        )?;
        let mut watch = Watch::on(pair.addr.port(), &["--arguments"])?;
        let answer = pair.fault("exit-early")?;
        let seen = watch.expect(&answer, "process.exit", Sure::Inferred);
        if let Some(seen) = &seen {
            are(
                seen,
                &[
                    ("/gateway/container", &one),
                    ("/gateway/runtime", gateway.3),
                    ("/gateway/pod", gateway.4),
                    ("/upstream/container", &other),
                    ("/upstream/runtime", upstream.3),
                    ("/upstream/pod", upstream.4),
                ],
            )?;
            let command = seen.field("/upstream/command");
            ensure!(
                command.contains("faulty.py --host "),
                "no arguments: {}",
                seen.line
            );
        }
        watch.end()?;
    }
    Ok(())
}
