//! The upstream process ends in the middle of a request, or has ended before it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use probe502_tests::cgroup::MemoryCgroup;
use probe502_tests::client::{self, next_id};
use probe502_tests::running::signal;
use probe502_tests::skip::unable;
use probe502_tests::stage::Stage;
use probe502_tests::upstream::{Upstream, programs};
use probe502_tests::watch::Sure;

#[test]
fn an_oom_kill_at_the_cgroups_limit() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let group = MemoryCgroup::limited_to(64 << 20)?;
    let mut stage = Stage::faulty(&[])?;
    group.take(stage.upstream.running.pid())?;
    let answer = stage.fault("oom")?;
    stage
        .watch
        .expect(&answer, "process.oom.cgroup", Sure::Proven);
    stage.end()
}

#[test]
fn a_segmentation_fault() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("segv")
}

#[test]
fn an_abort_by_itself() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("abort")
}

#[test]
fn an_exit_that_closes_the_socket() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("exit-early")
}

#[test]
fn an_exit_after_the_socket_was_closed() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("exit-late")
}

#[test]
fn an_unhandled_exception() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("unhandled")
}

#[test]
fn an_exit_in_a_gunicorn_worker() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::of(Upstream::gunicorn_20(&[])?)?;
    let early = stage.gateway.get(&format!("/exit-early/{}", next_id()))?;
    stage.watch.expect(&early, "process.exit", Sure::Proven);
    // The master starts another worker; a request in between waits in the accept queue.
    let late = stage.gateway.get(&format!("/exit-late/{}", next_id()))?;
    // Its exit may be held up after its close, on a busy host.
    stage.watch.expect(&late, "process.exit", Sure::Inferred);
    stage.end()
}

#[test]
fn an_exit_of_uvicorn_and_the_refusal_after_it() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::of(Upstream::uvicorn(&[])?)?;
    let left = stage.gateway.get(&format!("/exit-early/{}", next_id()))?;
    stage.watch.expect(&left, "process.exit", Sure::Proven);
    let refused = stage.gateway.get(&format!("/gone/{}", next_id()))?;
    stage.watch.expect(&refused, "process.exit", Sure::Proven);
    stage.end()
}

#[test]
fn a_gunicorn_worker_killed_by_a_person() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::of(Upstream::gunicorn(&[])?)?;
    let path = format!("/sleep/{}", next_id());
    let asked = client::in_background(stage.gateway.addr, path);
    std::thread::sleep(Duration::from_millis(300));
    for worker in stage.upstream.running.descendants() {
        signal(worker, "KILL")?;
    }
    let answer = client::joined(asked)?;
    stage
        .watch
        .expect(&answer, "process.killed.by-user", Sure::Proven);
    stage.end()
}

#[test]
fn a_master_that_kills_its_worker() -> Result<()> {
    if unable() {
        return Ok(());
    }
    Stage::breaks("killed-by-master")
}

#[test]
fn gunicorn_20_times_out_a_worker_that_sleeps() -> Result<()> {
    if unable() {
        return Ok(());
    }
    times_out(Upstream::gunicorn_20(&["--timeout", "1"])?, "/sleep")
}

#[test]
fn gunicorn_20_times_out_a_worker_stuck_in_c() -> Result<()> {
    if unable() {
        return Ok(());
    }
    times_out(Upstream::gunicorn_20(&["--timeout", "1"])?, "/stuck")
}

#[test]
fn the_newest_gunicorn_times_out_a_worker_stuck_in_c() -> Result<()> {
    if unable() {
        return Ok(());
    }
    times_out(Upstream::gunicorn(&["--timeout", "1"])?, "/stuck")
}

fn times_out(gunicorn: Upstream, path: &str) -> Result<()> {
    let mut stage = Stage::of(gunicorn)?;
    let answer = stage.gateway.get(&format!("{path}/{}", next_id()))?;
    // One that sleeps gets ABRT and closes before it exits: on a busy host that may be held up.
    let sure = if path == "/sleep" {
        Sure::Inferred
    } else {
        Sure::Proven
    };
    stage
        .watch
        .expect(&answer, "process.killed.by-parent", sure);
    stage.end()
}

#[test]
fn a_kill_by_a_container_runtime() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&[])?;
    let killed = stage.meanwhile("hold", |pid| as_runtime("containerd-shim", "SIGKILL", pid))?;
    stage
        .watch
        .expect(&killed, "process.killed.by-runtime", Sure::Proven);
    let left = stage.meanwhile("hold-politely", |pid| {
        as_runtime("containerd-shim", "SIGTERM", pid)
    })?;
    stage
        .watch
        .expect(&left, "process.killed.by-runtime", Sure::Proven);
    stage.end()
}

#[test]
fn a_kill_by_a_guard_of_the_memory() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&[])?;
    let killed = stage.meanwhile("hold", |pid| as_runtime("earlyoom", "SIGKILL", pid))?;
    stage
        .watch
        .expect(&killed, "process.oom.userspace", Sure::Proven);
    stage.end()
}

/// No container runtime is installed here: its shim's name on a process that sends its signals.
fn as_runtime(name: &str, number: &str, pid: u32) -> Result<()> {
    let words = [name, number, &pid.to_string()];
    let sent = Command::new("/usr/bin/python3")
        .arg(programs().join("runtime.py"))
        .args(words)
        .status()?;
    ensure!(sent.success(), "the signal was not sent");
    Ok(())
}

#[test]
fn a_kill_by_a_person() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&[])?;
    let killed = stage.meanwhile("hold", |pid| signal(pid, "KILL"))?;
    stage
        .watch
        .expect(&killed, "process.killed.by-user", Sure::Proven);
    let ended = stage.meanwhile("hold", |pid| signal(pid, "TERM"))?;
    stage
        .watch
        .expect(&ended, "process.killed.by-user", Sure::Proven);
    let left = stage.meanwhile("hold-politely", |pid| signal(pid, "TERM"))?;
    stage
        .watch
        .expect(&left, "process.killed.by-user", Sure::Proven);
    stage.end()
}

/// The kernel ends a process at its hard limit of processor time: nobody sent that signal.
#[test]
fn a_kill_by_the_kernel_at_the_processor_time_limit() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&[])?;
    let answer = stage.fault("cpu-limit")?;
    stage.watch.expect(&answer, "process.killed", Sure::Proven);
    stage.end()
}

#[test]
fn a_signal_that_the_worker_survives_is_no_death() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&[])?;
    let closed = stage.meanwhile("hold-then-close", |pid| signal(pid, "WINCH"))?;
    stage
        .watch
        .expect(&closed, "app.closed-without-answer", Sure::Proven);
    stage.end()
}

#[test]
fn a_refusal_names_the_death_before_it() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&["--share", "threads"])?;
    let died = stage.fault("exit-early")?;
    stage.watch.expect(&died, "process.exit", Sure::Proven);
    let refused = stage.fault("ok")?;
    stage.watch.expect(&refused, "process.exit", Sure::Proven);
    stage.end()
}

#[test]
fn a_refusal_after_a_death_on_a_port_that_the_kernel_chose() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&["--share", "threads", "--port", "0"])?;
    let died = stage.fault("abort")?;
    stage.watch.expect(&died, "process.crash", Sure::Proven);
    let refused = stage.fault("ok")?;
    stage.watch.expect(&refused, "process.crash", Sure::Proven);
    stage.end()
}

#[test]
fn a_refusal_names_the_oom_kill_before_it() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let group = MemoryCgroup::limited_to(64 << 20)?;
    let mut stage = Stage::faulty(&["--share", "threads"])?;
    group.take(stage.upstream.running.pid())?;
    let died = stage.fault("oom")?;
    stage
        .watch
        .expect(&died, "process.oom.cgroup", Sure::Proven);
    let refused = stage.fault("ok")?;
    stage
        .watch
        .expect(&refused, "process.oom.cgroup", Sure::Proven);
    stage.end()
}

#[test]
fn a_refusal_names_who_killed_an_idle_server() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let mut stage = Stage::faulty(&["--share", "threads"])?;
    signal(stage.upstream.running.pid(), "KILL")?;
    stage.upstream.running.wait(Duration::from_secs(5))?;
    let refused = stage.fault("ok")?;
    stage
        .watch
        .expect(&refused, "process.killed.by-user", Sure::Proven);
    stage.end()
}
