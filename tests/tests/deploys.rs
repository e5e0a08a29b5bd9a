//! The deploy story of real servers behind nginx: the right order, and the client's own counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use probe502_tests::agent::{Agent, Seen};
use probe502_tests::client::{self, Client, next_id};
use probe502_tests::nginx::{Nginx, Plan, free_port};
use probe502_tests::running::signal;
use probe502_tests::schema;
use probe502_tests::skip::unable;
use probe502_tests::upstream::Upstream;

/// The settling time of a story and its slowest verdict, and as much again for a busy machine.
const PATIENCE: Duration = Duration::from_secs(12);

const CLOSED: &str = "closed the listener on";
const OPENED: &str = "began to listen on";

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

/// Each of these words is in a step (`|` parts those that serve as well), and the steps are in this order.
fn in_order(story: &Seen, words: &[&str]) -> Result<()> {
    let mut steps = steps(story).into_iter();
    for word in words {
        let holds = |step: String| word.split('|').any(|one| step.contains(one));
        ensure!(
            steps.any(holds),
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
    // An answer may still begin behind the closed listener, and fail before its process has ended.
    let count = format!("the first of {failed} failed answers|the one answer");
    in_order(&story, &["SIGTERM to ", CLOSED, &count, OPENED])?;
    in_order(&story, &["SIGTERM to ", CLOSED, "exited|died", OPENED])?;
    in_order(&story, &["began its last answer", "exited|died", OPENED])?;
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

/// How many connections wait to be accepted: a listener's second number in proc(5)'s `net/tcp`.
fn queued(port: u16) -> Result<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let local = format!("0100007F:{port:04X}");
    let row = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(1) == Some(&&*local) && fields.get(3) == Some(&"0A");
        fields.get(4).filter(|_| listens)?.split_once(':')
    });
    let (_, waiting) = row.context("nobody listens")?;
    Ok(u64::from_str_radix(waiting, 16)?)
}

#[test]
fn connections_that_waited_as_it_was_stopped_are_counted() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let port = free_port("127.0.0.1")?;
    let words = ["--port", &port.to_string()];
    let mut old = Upstream::faulty_at(None, &[&words[..], &["--never-accept"]].concat())?;
    let gateway = before(&old)?;
    let agent = watch(&old)?;
    let ask = |_| client::in_background(gateway.addr, format!("/queued/{}", next_id()));
    let asked: Vec<_> = (0..3).map(ask).collect();
    let deadline = Instant::now() + PATIENCE;
    while queued(port)? < 3 {
        ensure!(Instant::now() < deadline, "{} wait", queued(port)?);
        std::thread::sleep(Duration::from_millis(10));
    }
    old.running.end("TERM", Duration::from_secs(10))?;
    for one in asked {
        let answer = client::joined(one)?;
        ensure!(answer.status == 502, "{}", answer.status);
    }
    let _new = Upstream::faulty_at(None, &words)?;
    let story = told(&agent, "restarted")?;
    let counts = ["failed", "queued_reset"].map(|name| story.verdict[name].as_u64());
    ensure!(counts == [Some(3), Some(3)], "{}", story.line);
    let reset = "3 connections that waited to be accepted were reset";
    in_order(&story, &["SIGTERM to ", reset, OPENED])?;
    in_order(&story, &["SIGTERM to ", CLOSED, OPENED])?;
    in_order(&story, &["SIGTERM to ", "died", OPENED])?;
    let report = agent.finish()?;
    let is_right = |seen: &Seen| seen.field("/cause") == "process.killed.by-user";
    ensure!(report.verdicts.len() == 3, "{}", report.output);
    ensure!(report.verdicts.iter().all(is_right), "{}", report.output);
    schema::check("deploy", &(story.line + "\n"))
}

/// Tells it to reload under load, and reads the story.
fn reloads(upstream: &Upstream, steps: &[&str]) -> Result<()> {
    let gateway = before(upstream)?;
    let agent = watch(upstream)?;
    let load = Load::on(&gateway, 4);
    load.serves(20)?;
    signal(upstream.running.pid(), "HUP")?;
    let story = told(&agent, "reloaded")?;
    load.serves(20)?;
    let failed = load.end()?;
    ensure!(
        story.verdict["failed"] == failed,
        "{failed} failed: {}",
        story.line
    );
    ensure!(story.verdict["gap_ms"] == 0.0, "{}", story.line);
    in_order(&story, steps)?;
    let report = agent.finish()?;
    let verdicts = u64::try_from(report.verdicts.len())?;
    ensure!(verdicts == failed, "{failed} failed: {}", report.output);
    schema::check("deploy", &(story.line + "\n"))
}

#[test]
fn a_rolling_reload_of_gunicorn_is_told_with_the_clients_own_count() -> Result<()> {
    if unable() {
        return Ok(());
    }
    reloads(
        &Upstream::gunicorn(&["--workers", "3"])?,
        &[
            "SIGHUP to ",
            "told 3 workers to stop",
            "the last of 3 workers had ended",
        ],
    )
}

/// Its workers serve to the end, and then give themselves the signal that they got.
#[test]
fn a_rolling_reload_of_uvicorn_is_told_with_the_clients_own_count() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let workers = ["--workers", "2", "--log-level", "warning"];
    let died = "died of SIGTERM";
    reloads(
        &Upstream::uvicorn(&workers)?,
        &["SIGHUP to ", "told 2 workers to stop", died, died],
    )
}
