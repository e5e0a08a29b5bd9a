//! Something between the gateway and the upstream.

use anyhow::Result;

use super::{SILENCE, UNREACHED, faulty};
use crate::accuracy::cast::Cast;
use crate::accuracy::luck::Luck;
use crate::accuracy::{Fault, Truth, probed, truth};
use crate::firewall::Firewall;
use crate::gateways::Kind;
use crate::netns::Netns;
use crate::route::Route;
use crate::upstream::endpoint;

const REJECTED: Truth = truth(
    &["net.filtered.reject"],
    &["refused", "unreachable", "connect-error"],
);
const FAILED_AT_ONCE: &[&str] = &["unreachable", "connect-error"];
/// A router sends only so many errors: of several tries the last may hear nothing.
const TRIED_AGAIN: Truth = truth(
    &["net.unreachable.icmp"],
    &["unreachable", "connect-error", "connect-timeout"],
);
const DROPPED: &[&str] = &["net.filtered.drop"];
/// How many addresses are drawn at most.
const DRAWS: usize = 8;

const ANSWERS_FIRST: &str = "it answers before it lets go of what failed, so order proves nothing, and one \
     seed met this fault before its page for failed dials was known by its look";

pub(super) const FAULTS: &[Fault] = &[
    Fault::new("firewall-resets", REJECTED, |luck, _| {
        rejected(luck, "tcp reset")
    }),
    Fault::new("firewall-says-unreachable", REJECTED, |luck, _| {
        rejected(luck, "icmp type port-unreachable")
    }),
    Fault::new("firewall-says-prohibited", REJECTED, |luck, _| {
        let kind = luck.one_of(&["admin-prohibited", "host-prohibited", "net-prohibited"]);
        rejected(luck, &format!("icmp type {kind}"))
    }),
    Fault::new(
        "firewall-resets-in-use",
        truth(&["net.filtered.reject"], &["reset", "refused"]),
        |luck, _| rejected_in_use(luck),
    ),
    Fault::new(
        "firewall-drops-the-syn",
        truth(DROPPED, UNREACHED),
        |luck, _| {
            let hook = luck.one_of(&["input", "output"]);
            dropped(luck, hook)
        },
    ),
    Fault::new(
        "firewall-drops-the-answer",
        truth(DROPPED, SILENCE),
        |luck, _| answer_dropped(luck),
    ),
    Fault::new(
        "no-route",
        truth(&["net.unreachable.route"], FAILED_AT_ONCE),
        |luck, _| no_route(luck),
    )
    .but(&[probed(
        &["net.unreachable.route", "proxy.no-live-upstream"],
        &["unreachable", "connect-error", "no-attempt"],
    )])
    .unknown(&[
        (Kind::Haproxy, ANSWERS_FIRST),
        (Kind::HaproxyTrixie, ANSWERS_FIRST),
    ]),
    Fault::new(
        "host-is-absent",
        truth(&["net.unreachable.host"], FAILED_AT_ONCE),
        |luck, _| host_is_absent(luck),
    )
    .but(&[probed(
        &["net.unreachable.host", "proxy.no-live-upstream"],
        &["unreachable", "connect-error", "no-attempt"],
    )]),
    Fault::new(
        "router-says-unreachable",
        truth(&["net.unreachable.icmp"], FAILED_AT_ONCE),
        |luck, _| router_says_no(luck),
    )
    .but(&[
        probed(
            &["net.unreachable.icmp", "proxy.no-live-upstream"],
            &["unreachable", "connect-error", "no-attempt"],
        ),
        (Kind::Haproxy, TRIED_AGAIN),
        (Kind::HaproxyTrixie, TRIED_AGAIN),
    ]),
    Fault::new("syn-is-lost", truth(&["net.lost"], UNREACHED), |luck, _| {
        lost(luck)
    })
    .but(&[probed(
        &["net.lost", "proxy.no-live-upstream"],
        &["connect-timeout", "no-attempt"],
    )]),
];

/// Whom nobody answers for, and the way there; another where someone leads there already.
fn stranger(luck: &mut Luck, lead: impl Fn(&str) -> Result<Route>) -> Result<(String, Route)> {
    let mut draw = || {
        let (third, fourth) = (luck.between(0, 256), luck.between(1, 255));
        (format!("198.19.{third}.{fourth}"), luck.port())
    };
    for _ in 1..DRAWS {
        let (host, port) = draw();
        if let Ok(route) = lead(&host) {
            return Ok((endpoint(&host, port), route));
        }
    }
    let (host, port) = draw();
    Ok((endpoint(&host, port), lead(&host)?))
}

fn no_route(luck: &mut Luck) -> Result<Cast> {
    let way = luck.one_of(&["unreachable", "prohibit", "blackhole"]);
    let (addr, route) = stranger(luck, |host| Route::refusing(way, host))?;
    Cast::of(addr, move |door| {
        let _alive = &route;
        door.get("/unroutable")
    })
}

fn host_is_absent(luck: &mut Luck) -> Result<Cast> {
    let netns = Netns::make()?;
    Cast::of(endpoint(&netns.absent()?, luck.port()), move |door| {
        let _alive = &netns;
        door.get("/absent")
    })
}

fn router_says_no(luck: &mut Luck) -> Result<Cast> {
    let netns = Netns::make()?;
    let (addr, route) = stranger(luck, |host| Route::through(&netns, host))?;
    Cast::of(addr, move |door| {
        let _alive = (&netns, &route);
        door.get("/unreachable")
    })
}

fn lost(luck: &mut Luck) -> Result<Cast> {
    let netns = Netns::make()?;
    let (addr, route) = stranger(luck, |host| Route::nowhere(&netns, host))?;
    Cast::of(addr, move |door| {
        let _alive = (&netns, &route);
        door.get("/lost")
    })
}

fn rejected(luck: &mut Luck, way: &str) -> Result<Cast> {
    let upstream = faulty(luck, &[])?;
    let rule = format!("tcp dport {} reject with {way}", upstream.port);
    Cast::of(upstream.addr.clone(), move |door| {
        let _alive = &upstream;
        let _firewall = Firewall::rule("input", &rule)?;
        door.get("/rejected")
    })
}

fn rejected_in_use(luck: &mut Luck) -> Result<Cast> {
    let upstream = faulty(luck, &["--share", "threads"])?;
    let size = luck.between(1, 4000) as usize;
    Cast::of(upstream.addr.clone(), move |door| {
        let _alive = &upstream;
        let mut guest = door.enter()?;
        guest.good()?;
        let rule = format!("tcp dport {} reject with tcp reset", upstream.port);
        let _firewall = Firewall::rule("input", &rule)?;
        guest.post("/fault/ok", size)
    })
}

fn dropped(luck: &mut Luck, hook: &'static str) -> Result<Cast> {
    let upstream = faulty(luck, &[])?;
    let rule = format!("tcp dport {} drop", upstream.port);
    Cast::of(upstream.addr.clone(), move |door| {
        let _alive = &upstream;
        let _firewall = Firewall::rule(hook, &rule)?;
        door.get("/dropped")
    })
}

/// The request arrives, and what the upstream says to it does not.
fn answer_dropped(luck: &mut Luck) -> Result<Cast> {
    let upstream = faulty(luck, &["--share", "threads"])?;
    let rule = format!("tcp sport {} tcp flags & syn == 0 drop", upstream.port);
    Cast::of(upstream.addr.clone(), move |door| {
        let _alive = &upstream;
        let _firewall = Firewall::rule("input", &rule)?;
        door.get("/unheard")
    })
}
