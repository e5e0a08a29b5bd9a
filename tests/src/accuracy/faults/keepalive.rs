//! Two idle timers collide on a pooled connection.

use anyhow::Result;

use super::{ENDED, faulty};
use crate::accuracy::cast::Cast;
use crate::accuracy::luck::Luck;
use crate::accuracy::{Fault, Truth, truth};
use crate::firewall::Firewall;

const RACE: Truth = truth(&["keepalive.race"], ENDED);

pub(super) const FAULTS: &[Fault] = &[
    Fault::new("post-meets-fin", RACE, |luck, _| {
        raced(luck, "POST", "threads")
    }),
    Fault::new("get-meets-fin", RACE, |luck, _| {
        raced(luck, "GET", "threads")
    }),
    Fault::new("post-meets-fin-of-a-leaver", RACE, |luck, _| {
        raced(luck, "POST", "fork")
    }),
];

/// The upstream closes its idle connection, its FIN is lost on the way, and the next request goes out.
fn raced(luck: &mut Luck, method: &'static str, share: &'static str) -> Result<Cast> {
    let idle = format!("0.{}", luck.between(2, 8));
    let upstream = faulty(luck, &["--share", share, "--idle", &idle])?;
    let size = luck.between(1, 4000) as usize;
    Cast::of(upstream.addr.clone(), move |door| {
        // Before the timer runs: on a crowded host it is the faster one.
        let rule = format!("tcp sport {} tcp flags & fin == fin drop", upstream.port);
        let _lost = Firewall::rule("output", &rule)?;
        let mut guest = door.enter()?;
        guest.good()?;
        upstream.hears("idle-closed")?;
        match method {
            "POST" => guest.post("/fault/ok", size),
            _ => guest.get("/fault/ok"),
        }
    })
}
