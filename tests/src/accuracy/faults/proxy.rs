//! The gateway's own host or configuration.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{REFUSED, faulty};
use crate::accuracy::cast::{Cast, Own};
use crate::accuracy::luck::Luck;
use crate::accuracy::{Fault, Truth, probed, truth};
use crate::gateways::{Kind, Server};
use crate::netns::Netns;
use crate::upstream::{Upstream, endpoint, programs};

const DOWN: Truth = truth(&["proxy.no-live-upstream"], &["no-attempt"]);
/// These dial again whatever happened before: Apache's balancer because all of its members are down,
/// Varnish because it is the second one's turn.
const DIALLED: Truth = truth(&["listener.absent"], REFUSED);

pub(super) const FAULTS: &[Fault] = &[
    Fault::new("all-marked-down", DOWN, |luck, _| all_down(luck)).but(&[
        (Kind::Apache, DIALLED),
        (Kind::Varnish, DIALLED),
        (Kind::Caddy, DIALLED),
        (Kind::Envoy, DIALLED),
        (Kind::Traefik, DIALLED),
        probed(
            &["listener.absent", "proxy.no-live-upstream"],
            &["refused", "no-attempt"],
        ),
    ]),
    Fault::new(
        "a-rule-says-so",
        truth(&["proxy.own-answer"], &["no-attempt"]),
        |luck, _| ruled(luck),
    )
    .only(Kind::has_rules),
    Fault::new(
        "no-port-left",
        truth(&["proxy.ports-exhausted"], &["connect-error"]),
        |luck, _| no_port_left(luck),
    ),
];

fn all_down(luck: &mut Luck) -> Result<Cast> {
    let netns = Netns::make()?;
    let mut dead = || Server::Tcp(endpoint(&netns.host(), luck.port()));
    let servers = vec![dead(), dead()];
    let cast = Cast::servers(servers, move |door| {
        let _alive = &netns;
        if matches!(door.kind, Kind::Haproxy | Kind::HaproxyTrixie) {
            // Its checks need two failures each.
            std::thread::sleep(Duration::from_millis(1800));
        }
        if !matches!(door.kind, Kind::Nginx | Kind::NginxTrixie) {
            door.get("/first")?;
            return door.get("/second");
        }
        // One client connection is one worker, and nginx's workers count for themselves.
        let mut guest = door.enter()?;
        guest.get("/first")?;
        guest.get("/second")
    });
    // Its checks of the dead ones are refused for as long as it runs.
    Ok(cast.own(Own::default()))
}

fn ruled(luck: &mut Luck) -> Result<Cast> {
    let status = luck.one_of(&[502, 503, 504]);
    let upstream = faulty(luck, &[])?;
    let cast = Cast::of(upstream.addr.clone(), move |door| {
        let _alive = &upstream;
        door.get("/ruled")
    })?;
    // Beside a site whose upstreams fail nothing is claimed of it: two sites may share their upstreams.
    Ok(cast.ruled(status).own(Own::default()))
}

/// Four ports to dial from, and four connections that have them.
fn no_port_left(luck: &mut Luck) -> Result<Cast> {
    let netns = Netns::make()?;
    let port = luck.port().to_string();
    let upstream = Upstream::faulty_at(Some(&netns.name), &["--port", &port])?;
    let addr = upstream.addr.clone();
    let own = Own {
        netns: Some((netns.name.clone(), netns.host())),
        ..Own::default()
    };
    let mut holders = Vec::new();
    let program = programs().join("dials.py").display().to_string();
    let cast = Cast::of(addr.clone(), move |door| {
        let _alive = &upstream;
        netns.run(&["sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40003"])?;
        let holder = netns.start(&["python3", "-B", &program, &addr, "4"])?;
        let dialled = holder
            .out
            .wait(Duration::from_secs(10), |line| line == "dialled 4");
        ensure!(
            dialled.is_some(),
            "not all ports are taken: {}",
            holder.err.text()
        );
        holders.push(holder);
        door.get("/portless")
    })?;
    Ok(cast.own(own))
}
