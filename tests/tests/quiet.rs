//! Good requests: no verdict, and nothing crosses from the kernel.

use anyhow::{Result, anyhow, bail, ensure};
use probe502_tests::agent::Agent;
use probe502_tests::client::Client;
use probe502_tests::nginx::{Nginx, Plan};
use probe502_tests::skip::{say, unable};
use probe502_tests::upstream::Upstream;
use serde_json::Value;

const CLIENTS: usize = 4;
const EACH: usize = 2_500;

/// The kernel's records about connections; the others tell of processes anywhere on the host.
const ABOUT_CONNECTIONS: [&str; 5] = ["answered", "ended", "heard", "reset", "drop"];

#[test]
fn ten_thousand_good_requests_over_a_pool() -> Result<()> {
    if unable() {
        return Ok(());
    }
    silent(true)
}

#[test]
fn ten_thousand_good_requests_with_a_connection_each() -> Result<()> {
    if unable() {
        return Ok(());
    }
    silent(false)
}

/// Someone else's connection may fail on this host meanwhile; what good requests send, each try sends.
const TRIES: usize = 3;

fn silent(pooled: bool) -> Result<()> {
    let mut heard = String::new();
    for _ in 0..TRIES {
        let stats = all_at_once(pooled)?;
        say(&format!(
            "{} good requests, pooled {pooled}: {stats}",
            CLIENTS * EACH
        ));
        ensure!(stats["lost"] == 0, "records were lost: {stats}");
        if ABOUT_CONNECTIONS
            .iter()
            .all(|fact| stats["events"][fact] == 0)
        {
            return Ok(());
        }
        heard = stats.to_string();
    }
    bail!("each of {TRIES} times, good requests sent records: {heard}")
}

fn all_at_once(pooled: bool) -> Result<Value> {
    let upstream = Upstream::faulty(&["--share", "threads"])?;
    let gateway = Nginx::start(&Plan {
        pooled,
        ..Plan::before(&upstream.addr)
    })?;
    let agent = Agent::watch(&["--port", &gateway.port().to_string(), "--stats"])?;
    let addr = gateway.addr;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| std::thread::spawn(move || all_good(Client::connect(addr)?)))
        .collect();
    for client in clients {
        client.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    let report = agent.finish()?;
    let told = &report.output;
    ensure!(told.is_empty(), "verdicts about good requests: {told}");
    report.stats()
}

fn all_good(mut client: Client) -> Result<()> {
    for _ in 0..EACH {
        let answer = client.get("/ok")?;
        ensure!(answer.status == 200, "a good request got {}", answer.status);
    }
    Ok(())
}
