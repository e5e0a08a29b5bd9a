//! `cargo xtask preview`: it comes up, shows failures, and leaves nothing behind.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use probe502_tests::agent::binary;
use probe502_tests::daemon::get;
use probe502_tests::dist::chore;
use probe502_tests::nginx::free_port;
use probe502_tests::running::Running;
use probe502_tests::skip::unable;

/// Far above what a first scrape takes, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn free() -> Result<SocketAddr> {
    Ok(SocketAddr::from(([127, 0, 0, 1], free_port("127.0.0.1")?)))
}

/// Waits until the page holds this.
fn shows(at: SocketAddr, path: &str, part: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = get(at, path);
        if page.as_ref().is_ok_and(|page| page.body.contains(part)) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{at}{path} never shows {part}: {page:?}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn the_preview_shows_failures_and_ends_with_all_that_it_started() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let (agent, prometheus) = (free()?, free()?);
    let mut command = chore();
    command.arg("preview").arg("--binary").arg(binary()?);
    command.args(["--listen", &agent.to_string()]);
    command.args(["--prometheus", &prometheus.to_string()]);
    let mut preview = Running::start(&mut command)?;
    let page = format!("live page   http://{agent}/");
    let told = preview.out.wait(PATIENCE, |line| line == page);
    ensure!(told.is_some(), "{}", preview.err.text());
    shows(agent, "/", "<html")?;
    // The demo's first scene, and a rule that Prometheus made of it.
    shows(
        prometheus,
        "/api/v1/query?query=probe502_answers_total",
        "\"cause\":\"listener.absent\"",
    )?;
    shows(prometheus, "/api/v1/rules", "\"health\":\"ok\"")?;
    let started = preview.descendants();
    ensure!(started.len() >= 3, "{started:?}");
    ensure!(
        preview.end("TERM", Duration::from_secs(60))?.success(),
        "{}",
        preview.err.text()
    );
    for address in [agent, prometheus] {
        ensure!(
            TcpStream::connect(address).is_err(),
            "{address} still serves"
        );
    }
    // The demo's own processes end when its pipe to them closes.
    let deadline = Instant::now() + PATIENCE;
    let lives = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
    while started.iter().any(lives) {
        ensure!(Instant::now() < deadline, "left behind: {started:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
