//! The upstream's process ends.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{ENDED, REFUSED, asked, faulty};
use crate::accuracy::cast::{Cast, Own};
use crate::accuracy::luck::Luck;
use crate::accuracy::{Fault, Truth, truth};
use crate::cgroup::MemoryCgroup;
use crate::running::signal;
use crate::upstream::{Upstream, programs};

const OOM: Truth = truth(&["process.oom.cgroup"], ENDED);
const CRASH: Truth = truth(&["process.crash"], ENDED);
const EXIT: Truth = truth(&["process.exit"], ENDED);
const BY_PARENT: Truth = truth(&["process.killed.by-parent"], ENDED);
const BY_RUNTIME: Truth = truth(&["process.killed.by-runtime"], ENDED);
const BY_USER: Truth = truth(&["process.killed.by-user"], ENDED);

/// Real servers on a busy machine: what they do about a request can take longer than the gateway waits.
const SLOWLY: &[&str] = &["eof", "reset", "no-answer"];
const SLOW: &str = "on a busy machine the server takes longer to end than the gateway waits";
const TIMED_OUT: Truth = Truth {
    causes: &["process.killed.by-parent", "app.stalled"],
    symptoms: SLOWLY,
    because: SLOW,
};
const LEFT: Truth = Truth {
    causes: &["process.exit", "app.stalled", "listener.not-accepting"],
    symptoms: SLOWLY,
    because: SLOW,
};

pub(super) const FAULTS: &[Fault] = &[
    Fault::new("oom-kill", OOM, |luck, _| oom(luck)),
    Fault::new("crash-segv", CRASH, |luck, _| asked(luck, "segv")),
    Fault::new("crash-abort", CRASH, |luck, _| asked(luck, "abort")),
    Fault::new("exit-early", EXIT, |luck, _| asked(luck, "exit-early")),
    Fault::new("exit-late", EXIT, |luck, _| asked(luck, "exit-late")),
    Fault::new("exit-unhandled", EXIT, |luck, _| asked(luck, "unhandled")),
    Fault::new("killed-by-master", BY_PARENT, |luck, _| {
        asked(luck, "killed-by-master")
    }),
    Fault::new(
        "killed-by-limit",
        truth(
            &["process.killed", "app.stalled"],
            &["eof", "reset", "no-answer"],
        ),
        |luck, _| asked(luck, "cpu-limit"),
    )
    .because("on a busy machine its second of processor time takes longer than the gateway waits"),
    Fault::new("killed-by-person", BY_USER, |luck, _| {
        held(luck, "hold", |pid| signal(pid, "KILL"))
    }),
    Fault::new("ended-by-person", BY_USER, |luck, _| {
        held(luck, "hold", |pid| signal(pid, "TERM"))
    }),
    Fault::new("left-by-person", BY_USER, |luck, _| {
        held(luck, "hold-politely", |pid| signal(pid, "TERM"))
    }),
    Fault::new("killed-by-runtime", BY_RUNTIME, |luck, _| {
        let name = luck.one_of(&["containerd-shim", "systemd", "runc", "conmon"]);
        held(luck, "hold", move |pid| as_program(name, "SIGKILL", pid))
    }),
    Fault::new("left-by-runtime", BY_RUNTIME, |luck, _| {
        held(luck, "hold-politely", |pid| {
            as_program("containerd-shim", "SIGTERM", pid)
        })
    }),
    Fault::new("gunicorn-20-timeout", TIMED_OUT, |_, _| {
        served(Upstream::gunicorn_20(&["--timeout", "1"])?, "/sleep")
    }),
    Fault::new("gunicorn-timeout-in-c", TIMED_OUT, |_, _| {
        served(Upstream::gunicorn(&["--timeout", "1"])?, "/stuck")
    }),
    Fault::new("gunicorn-exit", LEFT, |luck, _| {
        let path = luck.one_of(&["/exit-early", "/exit-late"]);
        served(Upstream::gunicorn_20(&[])?, path)
    }),
    Fault::new("uvicorn-exit", EXIT, |_, _| {
        served(Upstream::uvicorn(&[])?, "/exit-early")
    }),
    Fault::new(
        "refused-after-exit",
        truth(&["process.exit"], REFUSED),
        |luck, _| refused_after(luck, "exit-early"),
    ),
    Fault::new(
        "refused-after-crash",
        truth(&["process.crash"], REFUSED),
        |luck, _| refused_after(luck, "abort"),
    ),
    Fault::new(
        "refused-after-oom",
        truth(&["process.oom.cgroup"], REFUSED),
        |luck, _| refused_after_oom(luck),
    ),
    Fault::new(
        "refused-after-kill",
        truth(&["process.killed.by-user"], REFUSED),
        |luck, _| refused_after_kill(luck),
    ),
];

/// What takes a whole host's memory: only where that is a guest's (`cargo xtask vm`).
pub(super) const IN_A_GUEST: &[Fault] = &[Fault::new(
    "oom-of-the-host",
    truth(&["process.oom.host"], ENDED),
    |luck, _| oom_of_the_host(luck),
)];

const MEMORY: u64 = 64 << 20;

fn oom(luck: &mut Luck) -> Result<Cast> {
    let group = MemoryCgroup::limited_to(MEMORY + luck.between(0, 32 << 20))?;
    let upstream = faulty(luck, &[])?;
    group.take(upstream.running.pid())?;
    Cast::of(upstream.addr.clone(), move |door| {
        let _alive = (&upstream, &group);
        door.fault("oom")
    })
}

/// What is left of the host's memory: the upstream takes it while the gateway waits.
const SPARED: usize = 48 << 20;
/// A processor that is emulated looks for memory to free for seconds before it kills.
const LOOKED: Duration = Duration::from_secs(25);

fn oom_of_the_host(luck: &mut Luck) -> Result<Cast> {
    let upstream = faulty(luck, &[])?;
    // Nobody else shall die.
    let score = format!("/proc/{}/oom_score_adj", upstream.running.pid());
    std::fs::write(score, "1000")?;
    let cast = Cast::of(upstream.addr.clone(), move |door| {
        let _alive = &upstream;
        std::fs::write("/proc/sys/vm/drop_caches", "3")?;
        let taken = vec![1_u8; available()?.saturating_sub(SPARED)];
        let answer = door.fault("oom");
        std::hint::black_box(taken);
        answer
    })?;
    Ok(cast.own(Own {
        patience: Some(LOOKED),
        ..Own::default()
    }))
}

/// `MemAvailable` (`proc_meminfo(5)`), in bytes.
fn available() -> Result<usize> {
    let told = std::fs::read_to_string("/proc/meminfo")?;
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context("no MemAvailable")?.parse::<usize>()? << 10)
}

/// A worker holds the request until someone does this to it.
fn held(
    luck: &mut Luck,
    fault: &'static str,
    act: impl Fn(u32) -> Result<()> + Send + 'static,
) -> Result<Cast> {
    let upstream = faulty(luck, &[])?;
    let pause = luck.pause(0, 300);
    Cast::of(upstream.addr.clone(), move |door| {
        door.meanwhile(&format!("/fault/{fault}"), |id| {
            let pid = upstream.holder(id)?;
            std::thread::sleep(pause);
            act(pid)
        })
    })
}

/// A signal from a process of another program's name.
pub(super) fn as_program(name: &str, number: &str, pid: u32) -> Result<()> {
    let sent = Command::new("/usr/bin/python3")
        .arg(programs().join("runtime.py"))
        .args([name, number, &pid.to_string()])
        .status()?;
    ensure!(sent.success(), "the signal was not sent");
    Ok(())
}

/// A real application server that breaks at this path.
pub(super) fn served(upstream: Upstream, path: &'static str) -> Result<Cast> {
    Cast::of(upstream.addr.clone(), move |door| {
        let _alive = &upstream;
        door.get(path)
    })
}

fn refused_after(luck: &mut Luck, fault: &'static str) -> Result<Cast> {
    let mut upstream = faulty(luck, &["--share", "threads"])?;
    let pause = luck.pause(0, 500);
    Cast::of(upstream.addr.clone(), move |door| {
        door.fault(fault)?;
        upstream.running.wait(Duration::from_secs(5))?;
        std::thread::sleep(pause);
        door.get("/refused")
    })
}

fn refused_after_oom(luck: &mut Luck) -> Result<Cast> {
    let group = MemoryCgroup::limited_to(MEMORY)?;
    let mut upstream = faulty(luck, &["--share", "threads"])?;
    group.take(upstream.running.pid())?;
    Cast::of(upstream.addr.clone(), move |door| {
        let _alive = &group;
        door.fault("oom")?;
        upstream.running.wait(Duration::from_secs(5))?;
        door.get("/refused")
    })
}

fn refused_after_kill(luck: &mut Luck) -> Result<Cast> {
    let mut upstream = faulty(luck, &["--share", "threads"])?;
    let (number, pause) = (luck.one_of(&["KILL", "TERM"]), luck.pause(0, 800));
    Cast::of(upstream.addr.clone(), move |door| {
        signal(upstream.running.pid(), number)?;
        upstream.running.wait(Duration::from_secs(5))?;
        std::thread::sleep(pause);
        door.get("/refused")
    })
}
