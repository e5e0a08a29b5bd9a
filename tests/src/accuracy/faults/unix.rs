//! Upstreams behind UNIX sockets.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::{ENDED, SILENCE};
use crate::accuracy::cast::Cast;
use crate::accuracy::door::Door;
use crate::accuracy::luck::Luck;
use crate::accuracy::{Fault, truth};
use crate::gateways::Kind;
use crate::paths::Folder;
use crate::running::signal;
use crate::upstream::Upstream;

const DIAL: &[&str] = &["connect-error", "refused"];

const HOOKED_LATE: &str = "the hooks on UNIX sockets are attached at a gateway's first dial: of a connection of \
     that moment the first answer may go unseen, and with it that a second request was asked";

pub(super) const FAULTS: &[Fault] = &[
    Fault::new("unix-missing", truth(&["unix.missing"], DIAL), |_, _| {
        missing()
    })
    .only(dials_unix),
    Fault::new(
        "unix-left-over",
        truth(&["unix.no-listener"], DIAL),
        |_, _| left_over(),
    )
    .only(dials_unix),
    Fault::new(
        "unix-listener-killed",
        truth(&["process.killed.by-user"], DIAL),
        |_, _| listener_killed(),
    )
    .only(dials_unix),
    Fault::new(
        "unix-closed-by-its-owner",
        truth(&["listener.closed"], DIAL),
        |luck, _| closed(luck),
    )
    .only(dials_unix),
    Fault::new(
        "unix-never-accepted",
        truth(&["listener.not-accepting"], SILENCE),
        |_, _| never_accepted(),
    )
    .only(dials_unix),
    Fault::new("unix-denied", truth(&["unix.denied"], DIAL), |_, _| {
        denied()
    })
    .only(leaves_root_behind),
    Fault::new(
        "unix-queue-full",
        truth(&["unix.backlog-full"], DIAL),
        |luck, _| queue_full(luck),
    )
    .only(dials_unix),
    Fault::new(
        "unix-worker-killed",
        truth(&["process.killed.by-user"], ENDED),
        |_, _| killed(),
    )
    .only(dials_unix),
    Fault::new(
        "unix-worker-crashes",
        truth(&["process.crash"], ENDED),
        |luck, _| asked(luck, "segv"),
    )
    .only(dials_unix)
    .unknown(&[(Kind::Envoy, HOOKED_LATE)]),
    Fault::new(
        "unix-worker-exits",
        truth(&["process.exit"], ENDED),
        |luck, _| asked(luck, "exit-early"),
    )
    .only(dials_unix),
    Fault::new(
        "unix-closes-without-answer",
        truth(&["app.closed-without-answer"], &["eof"]),
        |luck, _| asked(luck, "close-without-answer"),
    )
    .only(dials_unix),
    Fault::new(
        "unix-partial-header",
        truth(&["app.closed-mid-header"], ENDED),
        |luck, _| asked(luck, "partial-header"),
    )
    .only(dials_unix),
    Fault::new(
        "unix-resets-unread-head",
        truth(&["app.reset-unread"], ENDED),
        |luck, _| asked(luck, "reset-unseen"),
    )
    .only(dials_unix),
    Fault::new(
        "unix-says-502",
        truth(&["relayed.upstream"], &["relayed"]),
        |luck, _| asked(luck, "says-502"),
    )
    .only(dials_unix),
    Fault::new(
        "unix-sleeps",
        truth(&["app.stalled"], SILENCE),
        |luck, _| asked(luck, "hold"),
    )
    .only(dials_unix),
];

/// Those in a root of their own do not see our sockets.
fn dials_unix(kind: Kind) -> bool {
    kind.speaks_unix() && !matches!(kind, Kind::NginxTrixie | Kind::HaproxyTrixie)
}

/// Root may write to any socket.
fn leaves_root_behind(kind: Kind) -> bool {
    dials_unix(kind) && !matches!(kind, Kind::Caddy | Kind::Envoy)
}

/// An upstream and its socket.
fn faulty(options: &[&str]) -> Result<(Folder, PathBuf, Upstream)> {
    let folder = Folder::make()?;
    let path = folder.path("app.sock");
    let upstream = Upstream::faulty_unix(&path, options)?;
    Ok((folder, path, upstream))
}

/// A gateway's UNIX connections are watched from its first dial on.
fn meet(door: &Door) -> Result<()> {
    door.good()?;
    std::thread::sleep(Duration::from_millis(400));
    Ok(())
}

fn asked(luck: &mut Luck, fault: &'static str) -> Result<Cast> {
    let (folder, path, upstream) = faulty(&[])?;
    let more = luck.between(0, 2);
    Ok(Cast::unix(path, move |door| {
        let _alive = (&folder, &upstream);
        meet(door)?;
        for _ in 0..more {
            door.good()?;
        }
        door.fault(fault)
    }))
}

/// On a fresh connection: a gateway tries again where a pooled one ends.
fn killed() -> Result<Cast> {
    let (folder, path, upstream) = faulty(&["--idle", "0.1"])?;
    Ok(Cast::unix(path, move |door| {
        let _alive = &folder;
        meet(door)?;
        door.meanwhile("/fault/hold", |id| signal(upstream.holder(id)?, "KILL"))
    }))
}

fn missing() -> Result<Cast> {
    let (folder, path, mut upstream) = faulty(&["--share", "threads"])?;
    Ok(Cast::unix(path.clone(), move |door| {
        let _alive = &folder;
        meet(door)?;
        std::fs::remove_file(&path)?;
        signal(upstream.running.pid(), "KILL")?;
        upstream.running.wait(Duration::from_secs(5))?;
        door.get("/missing")
    }))
}

/// A file that has been there since before anyone watched.
fn left_over() -> Result<Cast> {
    let folder = Folder::make()?;
    let path = folder.path("app.sock");
    drop(UnixDatagram::bind(&path)?);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777))?;
    Ok(Cast::unix(path, move |door| {
        let _alive = &folder;
        door.get("/left-over")
    }))
}

fn listener_killed() -> Result<Cast> {
    let (folder, path, mut upstream) = faulty(&["--share", "threads"])?;
    Ok(Cast::unix(path, move |door| {
        let _alive = &folder;
        meet(door)?;
        signal(upstream.running.pid(), "KILL")?;
        upstream.running.wait(Duration::from_secs(5))?;
        door.get("/left-over")
    }))
}

fn closed(luck: &mut Luck) -> Result<Cast> {
    let (folder, path, mut upstream) = faulty(&["--share", "threads", "--idle", "0.1"])?;
    let pause = luck.pause(200, 1000);
    Ok(Cast::unix(path, move |door| {
        let _alive = &folder;
        meet(door)?;
        upstream.order("close", "closed")?;
        std::thread::sleep(pause);
        door.get("/refused")
    }))
}

/// Stopped (SIGSTOP) once its idle connections have gone.
fn never_accepted() -> Result<Cast> {
    let (folder, path, upstream) = faulty(&["--share", "threads", "--idle", "0.1"])?;
    Ok(Cast::unix(path, move |door| {
        let _alive = &folder;
        meet(door)?;
        signal(upstream.running.pid(), "STOP")?;
        door.get("/unaccepted")
    }))
}

fn denied() -> Result<Cast> {
    let (folder, path, upstream) = faulty(&["--idle", "0.1"])?;
    Ok(Cast::unix(path.clone(), move |door| {
        let _alive = (&folder, &upstream);
        meet(door)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        door.get("/not-permitted")
    }))
}

fn queue_full(luck: &mut Luck) -> Result<Cast> {
    let most = luck.between(1, 4);
    let (folder, path, upstream) = faulty(&["--never-accept", "--backlog", &most.to_string()])?;
    let mut waiting = Vec::new();
    Ok(Cast::unix(path.clone(), move |door| {
        let _alive = (&folder, &upstream);
        // A queue holds one more than its limit.
        for _ in 0..=most {
            waiting.push(UnixStream::connect(&path)?);
        }
        door.get("/full")
    }))
}
