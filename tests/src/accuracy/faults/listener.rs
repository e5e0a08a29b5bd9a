//! Nobody takes the connection.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;

use super::{REFUSED, SILENCE, UNREACHED, faulty};
use crate::accuracy::cast::Cast;
use crate::accuracy::luck::Luck;
use crate::accuracy::{Fault, Truth, probed, truth};
use crate::gateways::Kind;
use crate::netns::Netns;
use crate::running::signal;
use crate::upstream::{Upstream, endpoint};

/// `HAProxy` tries for three seconds, in which uvicorn finishes draining and leaves.
const DRAINED: Truth = Truth {
    causes: &["listener.closed", "process.killed.by-user"],
    symptoms: REFUSED,
    because: "HAProxy tries for three seconds, in which uvicorn has drained and left",
};

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "nothing-listens",
        truth(&["listener.absent"], REFUSED),
        |luck, _| nothing_listens(luck),
    )
    .but(&[probed(
        &["listener.absent", "proxy.no-live-upstream"],
        &["refused", "no-attempt"],
    )]),
    Fault::new(
        "moved-to-other-port",
        truth(&["listener.other-port"], REFUSED),
        |luck, _| moved(luck),
    ),
    Fault::new(
        "on-other-loopback",
        truth(&["listener.other-address"], REFUSED),
        |luck, _| on_another(luck, "127.0.0.2"),
    )
    .but(&[probed(
        &["listener.other-address", "proxy.no-live-upstream"],
        &["refused", "no-attempt"],
    )]),
    Fault::new(
        "on-other-family",
        truth(&["listener.other-address"], REFUSED),
        |luck, _| on_another(luck, "::1"),
    )
    .but(&[probed(
        &["listener.other-address", "proxy.no-live-upstream"],
        &["refused", "no-attempt"],
    )]),
    Fault::new(
        "on-loopback-of-its-container",
        truth(&["listener.other-address"], REFUSED),
        |luck, _| on_loopback_of_its_container(luck),
    )
    .but(&[probed(
        &["listener.other-address", "proxy.no-live-upstream"],
        &["refused", "no-attempt"],
    )]),
    Fault::new(
        "closed-by-its-owner",
        truth(&["listener.closed"], REFUSED),
        |luck, _| closed(luck),
    ),
    Fault::new(
        "uvicorn-drains",
        truth(&["listener.closed"], REFUSED),
        |_, _| drains(),
    )
    .but(&[(Kind::Haproxy, DRAINED), (Kind::HaproxyTrixie, DRAINED)]),
    Fault::new(
        "closed-with-a-queue",
        truth(&["listener.closed-queued"], &["reset"]),
        |luck, _| closed_queued(luck),
    ),
    Fault::new(
        "queue-full",
        truth(&["listener.backlog-full"], UNREACHED),
        |luck, _| queue_full(luck),
    )
    .unknown(&[(
        Kind::Traefik,
        "its page for a dial that timed out is the one for an answer that timed out: one seed had met only \
         the latter by then, and so believed of no dial that it was the reason",
    )]),
    Fault::new(
        "never-accepted",
        truth(&["listener.not-accepting"], SILENCE),
        |luck, _| never_accepted(luck),
    ),
    Fault::new(
        "no-descriptor-left",
        truth(&["listener.fd-exhausted"], SILENCE),
        |luck, _| no_descriptor(luck),
    ),
];

fn nothing_listens(luck: &mut Luck) -> Result<Cast> {
    // A namespace of its own: on a shared host someone's listener may look like the one that was meant.
    let netns = Netns::make()?;
    let addr = endpoint(&netns.host(), luck.port());
    Cast::of(addr, move |door| {
        let _alive = &netns;
        door.get("/refused")
    })
}

fn moved(luck: &mut Luck) -> Result<Cast> {
    let mut upstream = faulty(luck, &["--share", "threads"])?;
    let other = luck.port();
    Cast::of(upstream.addr.clone(), move |door| {
        upstream.order("close", "closed")?;
        upstream.order(&format!("listen {other}"), "listening")?;
        door.get("/refused")
    })
}

fn on_another(luck: &mut Luck, host: &'static str) -> Result<Cast> {
    let upstream = faulty(luck, &["--host", host])?;
    Cast::of(endpoint("127.0.0.1", upstream.port), move |door| {
        let _alive = &upstream;
        door.get("/refused")
    })
}

fn on_loopback_of_its_container(luck: &mut Luck) -> Result<Cast> {
    let netns = Netns::make()?;
    let port = luck.port().to_string();
    let upstream = Upstream::faulty_at(Some(&netns.name), &["--port", &port])?;
    Cast::of(endpoint(&netns.host(), upstream.port), move |door| {
        let _alive = (&netns, &upstream);
        door.get("/refused")
    })
}

fn closed(luck: &mut Luck) -> Result<Cast> {
    let mut upstream = faulty(luck, &["--share", "threads"])?;
    let pause = luck.pause(0, 1000);
    Cast::of(upstream.addr.clone(), move |door| {
        upstream.order("close", "closed")?;
        std::thread::sleep(pause);
        door.get("/refused")
    })
}

fn drains() -> Result<Cast> {
    let upstream = Upstream::uvicorn(&[])?;
    Cast::of(upstream.addr.clone(), move |door| {
        std::thread::scope(|scope| {
            // Keeps it draining; it is answered well, after three seconds, or given up.
            scope.spawn(|| door.get("/sleep"));
            std::thread::sleep(Duration::from_millis(500));
            signal(upstream.running.pid(), "TERM")?;
            std::thread::sleep(Duration::from_millis(500));
            door.get("/refused")
        })
    })
}

fn closed_queued(luck: &mut Luck) -> Result<Cast> {
    let mut upstream = faulty(luck, &["--share", "threads", "--never-accept"])?;
    let pause = luck.pause(300, 900);
    Cast::of(upstream.addr.clone(), move |door| {
        door.meanwhile("/queued", |_| {
            std::thread::sleep(pause);
            upstream.order("close", "closed").map(drop)
        })
    })
}

fn queue_full(luck: &mut Luck) -> Result<Cast> {
    let most = luck.between(1, 4);
    let options = [
        "--share",
        "threads",
        "--never-accept",
        "--backlog",
        &most.to_string(),
    ];
    let upstream = faulty(luck, &options)?;
    let addr: SocketAddr = upstream.addr.parse()?;
    let mut fillers = Vec::new();
    Cast::of(upstream.addr.clone(), move |door| {
        let _alive = &upstream;
        // A queue holds one more than its limit; the next SYN is dropped in silence.
        fillers.extend(fill(addr, most as usize + 4));
        door.get("/unreached")
    })
}

/// Connections that nobody accepts, as many as fit.
pub(super) fn fill(addr: SocketAddr, most: usize) -> Vec<TcpStream> {
    let patience = Duration::from_millis(150);
    let dialled = (0..most).map(|_| TcpStream::connect_timeout(&addr, patience));
    dialled.map_while(Result::ok).collect()
}

fn never_accepted(luck: &mut Luck) -> Result<Cast> {
    let upstream = faulty(luck, &["--share", "threads", "--never-accept"])?;
    Cast::of(upstream.addr.clone(), move |door| {
        let _alive = &upstream;
        door.get("/unaccepted")
    })
}

fn no_descriptor(luck: &mut Luck) -> Result<Cast> {
    let upstream = faulty(luck, &["--share", "threads", "--no-descriptors"])?;
    Cast::of(upstream.addr.clone(), move |door| {
        let _alive = &upstream;
        door.get("/unaccepted")
    })
}
