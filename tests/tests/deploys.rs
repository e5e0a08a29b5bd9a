//! The deploy story of real servers behind nginx: the right order, and the client's own counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::{Agent, Seen};
use probe502_tests::client::{Client, next_id};
use probe502_tests::nginx::{Nginx, Plan, free_port};
use probe502_tests::running::signal;
use probe502_tests::schema;
use probe502_tests::skip::unable;
use probe502_tests::upstream::Upstream;

/// The settling time of a story and its slowest verdict, and as much again for a busy machine.
const PATIENCE: Duration = Duration::from_secs(12);

/// Requests one after another, until it is told to stop; counts the answers that failed.
struct Load {
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicU64>,
    good: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(gateway: &Nginx, clients: usize) -> Self {
        let (stop, failed, good) = <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let client = |_| {
            let (stop, failed, good) = (stop.clone(), failed.clone(), good.clone());
            let addr = gateway.addr;
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let path = format!("/load/{}", next_id());
                    let asked = Client::connect(addr).and_then(|mut client| client.get(&path));
                    let count = match asked {
                        Ok(answer) if answer.status == 200 => &good,
                        Ok(_) | Err(_) => &failed,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(10));
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Self {
            stop,
            failed,
            good,
            clients,
        }
    }

    /// Waits until this many more were answered well.
    fn serves(&self, more: u64) -> Result<()> {
        let aim = self.good.load(Ordering::Relaxed) + more;
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.good.load(Ordering::Relaxed) < aim {
            ensure!(Instant::now() < deadline, "no good answers");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn end(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))?;
        }
        Ok(self.failed.load(Ordering::Relaxed))
    }
}

fn steps(story: &Seen) -> Vec<String> {
    let all = story.verdict["steps"].as_array().cloned();
    let fact = |step: &serde_json::Value| step["fact"].as_str().unwrap_or_default().to_owned();
    all.unwrap_or_default().iter().map(fact).collect()
}

/// Each of these words is in a step, and the steps are in this order.
fn in_order(story: &Seen, words: &[&str]) -> Result<()> {
    let mut steps = steps(story).into_iter();
    for word in words {
        let found = steps.any(|step| step.contains(word));
        ensure!(
            found,
            "'{word}' is missing, or not in its place: {}",
            story.line
        );
    }
    Ok(())
}

fn before(upstream: &Upstream) -> Result<Nginx> {
    let upstreams = vec![format!("{} max_fails=0", upstream.addr)];
    Nginx::start(&Plan {
        upstreams,
        ..Plan::before("")
    })
}

fn watch(upstream: &Upstream) -> Result<Agent> {
    Agent::watch(&["--port", &upstream.port.to_string(), "--stories"])
}

fn told(agent: &Agent, course: &str) -> Result<Seen> {
    let fits = |seen: &Seen| {
        seen.field("/schema") == "probe502.deploy/1" && seen.field("/course") == course
    };
    let story = agent.notice(PATIENCE, fits);
    story.with_context(|| format!("no story: {}", agent.messages()))
}

/// Stops it by SIGTERM under load, starts it again on the same port, and reads the story.
fn restarts(start: fn(u16, &[&str]) -> Result<Upstream>, options: &[&str]) -> Result<()> {
    let mut old = start(free_port("127.0.0.1")?, options)?;
    let gateway = before(&old)?;
    let agent = watch(&old)?;
    let load = Load::on(&gateway, 8);
    load.serves(40)?;
    old.running.end("TERM", Duration::from_secs(10))?;
    let new = start(old.port, options)?;
    load.serves(40)?;
    let failed = load.end()?;
    let story = told(&agent, "restarted")?;
    ensure!(failed > 0, "nothing failed");
    ensure!(
        story.verdict["failed"] == failed,
        "{failed} failed: {}",
        story.line
    );
    ensure!(story.field("/order/signal") == "SIGTERM", "{}", story.line);
    ensure!(story.field("/order/by/comm") == "kill", "{}", story.line);
    in_order(
        &story,
        &[
            "SIGTERM to ",
            "closed the listener on",
            "of ",
            "began to listen on",
        ],
    )?;
    let ended = steps(&story)
        .iter()
        .any(|step| step.contains("exited") || step.contains("died"));
    let answered = steps(&story)
        .iter()
        .any(|step| step.contains("began its last answer"));
    ensure!(ended && answered, "{}", story.line);
    let gap = story.verdict["gap_ms"].as_f64().unwrap_or_default();
    let drain = story.verdict["drain_ms"].as_f64().unwrap_or_default();
    ensure!(gap > 0.0 && drain >= gap, "{}", story.line);
    drop(new);
    let report = agent.finish()?;
    let verdicts = u64::try_from(report.verdicts.len())?;
    ensure!(
        verdicts == failed,
        "{verdicts} verdicts for {failed} failed answers"
    );
    schema::check("deploy", &(story.line + "\n"))
}

#[test]
fn a_restart_of_uvicorn_is_told_with_the_clients_own_count() -> Result<()> {
    if unable() {
        return Ok(());
    }
    restarts(Upstream::uvicorn_on, &["--log-level", "warning"])
}

#[test]
fn a_restart_of_gunicorn_is_told_with_the_clients_own_count() -> Result<()> {
    if unable() {
        return Ok(());
    }
    restarts(Upstream::gunicorn_on, &["--workers", "3"])
}

#[test]
fn a_rolling_reload_of_gunicorn_fails_nobody_and_is_told_so() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let upstream = Upstream::gunicorn(&["--workers", "3"])?;
    let gateway = before(&upstream)?;
    let agent = watch(&upstream)?;
    let load = Load::on(&gateway, 4);
    load.serves(20)?;
    signal(upstream.running.pid(), "HUP")?;
    let story = told(&agent, "reloaded")?;
    let failed = load.end()?;
    ensure!(
        story.verdict["failed"] == failed,
        "{failed} failed: {}",
        story.line
    );
    ensure!(story.verdict["gap_ms"] == 0.0, "{}", story.line);
    in_order(
        &story,
        &[
            "SIGHUP to ",
            "told 3 workers to stop",
            "the last of 3 workers had ended",
        ],
    )?;
    agent.finish()?;
    schema::check("deploy", &(story.line + "\n"))
}
