//! The unit under a real systemd: with all that it bounds, every hook attaches and a cause is named.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use probe502_tests::agent::binary;
use probe502_tests::daemon::{Daemon, get};
use probe502_tests::nginx::{Nginx, free_port};
use probe502_tests::paths::Folder;
use probe502_tests::running::signal;
use probe502_tests::service::Manager;
use probe502_tests::skip::unable;

fn hooks(metrics: &str) -> Vec<&str> {
    let lines = metrics.lines();
    let mut hooks: Vec<&str> = lines
        .filter(|line| line.starts_with("probe502_hook_attached{") && line.ends_with(" 1"))
        .collect();
    hooks.sort_unstable();
    hooks
}

fn is_bounded(pid: u32) -> Result<()> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let capabilities = "CapEff:\t000000c400081004";
    for bound in ["NoNewPrivs:\t1", "Seccomp:\t2", capabilities] {
        ensure!(status.contains(bound), "not {bound}: {status}");
    }
    ensure!(!status.contains("Uid:\t0"), "it runs as root: {status}");
    Ok(())
}

#[test]
fn the_bounded_service_attaches_every_hook_reloads_and_is_restarted_when_it_hangs() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/probe502.service");
    let gateway = Nginx::before(&format!("127.0.0.1:{}", free_port("127.0.0.1")?))?;
    let address = ([127, 0, 0, 1], free_port("127.0.0.1")?).into();
    let settings = format!(
        "[Service]\nTimeoutStartSec=600\nStandardError=file:/run/probe502/log\nEnvironment=PROBE502_LISTEN={address}\n\
         Environment=PROBE502_PORT={}\nEnvironment=PROBE502_HISTORY=%S/probe502/history.db\n",
        gateway.port()
    );
    let manager = Manager::start(&fs::read_to_string(unit)?, &binary()?, &settings)?;
    // It returns once the agent has said that it is ready.
    manager.does(&["start", "probe502"])?;
    is_bounded(manager.property("MainPID")?.parse()?)?;
    let folder = Folder::make()?;
    let roots = Daemon::start(&folder.path(""), "", &[])?;
    let metrics = || Ok::<_, anyhow::Error>(get(address, "/metrics")?.body);
    let (its, wanted) = (metrics()?, roots.page("/metrics")?);
    let (its, wanted) = (hooks(&its), hooks(&wanted));
    ensure!(its == wanted, "{its:?}, root's: {wanted:?}");
    for counted in ["cause=\"listener.absent\"", "outcome=\"written\""] {
        let is_counted = || {
            // One whose evidence was lost on a crowded host is not waited for.
            gateway.get("/x")?;
            let metrics = metrics()?;
            let mut lines = metrics.lines();
            Ok(lines.any(|line| line.contains(counted) && !line.ends_with(" 0")))
        };
        let told = manager.until(counted, is_counted);
        told.with_context(|| metrics().unwrap_or_default())?;
    }
    manager.does(&["reload", "probe502"])?;
    manager.until("it reads its settings again", || {
        Ok(manager
            .reads("log")?
            .contains("the settings were read again"))
    })?;
    manager.does(&["stop", "probe502"])?;
    ensure!(
        manager.property("Result")? == "success",
        "{}",
        manager.reads("log")?
    );

    // One that hangs is killed and comes back.
    let hasty = "[Service]\nWatchdogSec=2\n";
    manager.writes("probe502.service.d/watchdog.conf", hasty)?;
    manager.does(&["daemon-reload"])?;
    manager.does(&["start", "probe502"])?;
    signal(manager.property("MainPID")?.parse()?, "STOP")?;
    manager.until("it is restarted", || {
        Ok(manager.property("NRestarts")? != "0")
    })
}
