//! The upstream's process lives, and ends the connection or says nothing.

use anyhow::Result;

use super::{ENDED, SILENCE, asked, faulty};
use crate::accuracy::cast::Cast;
use crate::accuracy::luck::Luck;
use crate::accuracy::{Fault, Truth, truth};
use crate::running::signal;

const MID_HEADER: Truth = truth(&["app.closed-mid-header"], ENDED);
const CUT: Truth = truth(&["app.closed-mid-body"], &["truncated"]);
const STALLED: Truth = truth(&["app.stalled"], SILENCE);

/// What only `--silent` tells, which the matrix does not ask for.
pub(super) const IN_A_GUEST: &[Fault] = &[
    Fault::new("body-cut", CUT, |luck, _| asked(luck, "cut-close")),
    Fault::new("body-cut-behind-a-long-header", CUT, |luck, _| {
        asked(luck, "cut-long-header")
    }),
];

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "closes-without-answer",
        truth(&["app.closed-without-answer"], &["eof"]),
        |luck, _| asked(luck, "close-without-answer"),
    ),
    Fault::new("partial-status", MID_HEADER, |luck, _| {
        asked(luck, "partial-status")
    }),
    Fault::new("partial-header", MID_HEADER, |luck, _| {
        asked(luck, "partial-header")
    }),
    Fault::new("partial-header-reset", MID_HEADER, |luck, _| {
        asked(luck, "partial-header-reset")
    }),
    Fault::new(
        "resets-by-linger",
        truth(&["app.reset-linger"], &["reset"]),
        |luck, _| asked(luck, "reset-linger"),
    ),
    Fault::new(
        "resets-unread-body",
        truth(&["app.reset-unread"], ENDED),
        |luck, _| unread_body(luck),
    ),
    Fault::new(
        "resets-unread-head",
        truth(&["app.reset-unread"], ENDED),
        |luck, _| asked(luck, "reset-unseen"),
    ),
    Fault::new(
        "survives-a-signal-and-closes",
        truth(&["app.closed-without-answer"], &["eof"]),
        |luck, _| survives(luck),
    ),
    Fault::new("sleeps", STALLED, |luck, _| asked(luck, "hold")),
    Fault::new("is-stopped", STALLED, |luck, _| stopped(luck)),
];

fn unread_body(luck: &mut Luck) -> Result<Cast> {
    let upstream = faulty(luck, &[])?;
    let size = luck.between(200, 8000) as usize;
    Cast::of(upstream.addr.clone(), move |door| {
        let _alive = &upstream;
        door.enter()?.post("/fault/reset-unread", size)
    })
}

fn survives(luck: &mut Luck) -> Result<Cast> {
    let upstream = faulty(luck, &[])?;
    Cast::of(upstream.addr.clone(), move |door| {
        door.meanwhile("/fault/hold-then-close", |id| {
            signal(upstream.holder(id)?, "WINCH")
        })
    })
}

fn stopped(luck: &mut Luck) -> Result<Cast> {
    let upstream = faulty(luck, &[])?;
    Cast::of(upstream.addr.clone(), move |door| {
        door.meanwhile("/fault/hold", |id| signal(upstream.holder(id)?, "STOP"))
    })
}
