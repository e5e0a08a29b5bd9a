//! Every panel and every alert has data: a Prometheus scrapes two agents while real faults run behind
//! nginx and HAProxy, one of them whole, the other poor (few hooks, hardly any room for records).

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use probe502_tests::accuracy::judge::Mark;
use probe502_tests::accuracy::run::Play;
use probe502_tests::accuracy::{Cell, matrix, page};
use probe502_tests::agent::binary;
use probe502_tests::daemon::Daemon;
use probe502_tests::gateways::Kind;
use probe502_tests::nginx::{Nginx, Plan, free_port};
use probe502_tests::paths::Folder;
use probe502_tests::prometheus::{Prometheus, dashboards, has_data, queries};
use probe502_tests::skip::{say, unable};
use probe502_tests::upstream::Upstream;

/// One of each kind that a panel tells apart, and one without a status.
const FAULTS: [(Kind, &str); 8] = [
    (Kind::Nginx, "post-meets-fin"),
    (Kind::Nginx, "no-route"),
    (Kind::Nginx, "partial-header"),
    (Kind::Haproxy, "crash-abort"),
    (Kind::Haproxy, "nothing-listens"),
    (Kind::Haproxy, "all-marked-down"),
    (Kind::Haproxy, "post-meets-fin"),
    (Kind::Haproxy, "garbage"),
];

/// What must be empty where all is well, and why.
const EMPTY: [(&str, &str); 2] = [
    (
        "Probe502HistoryDropped",
        "8 MiB of verdicts must wait for a full disk before one is dropped; its unit test fires it",
    ),
    (
        "Probe502NamesNoPods",
        "no API server is asked here; tests/tests/kubernetes.rs takes one away, and its unit test fires it",
    ),
];

const PATIENCE: Duration = Duration::from_secs(120);

/// With a ring of two pages and without what looks at packets.
fn poor(folder: &Path) -> Result<Daemon> {
    let mut command = Command::new("setpriv");
    for set in ["inh-caps", "ambient-caps", "bounding-set"] {
        command.arg(format!("--{set}=-all,+bpf,+perfmon,+sys_ptrace"));
    }
    command.arg("--no-new-privs").arg(binary()?);
    command.args(["agent", "--ring-bytes", "8192"]);
    Daemon::run(command, folder, "")
}

/// The faults behind both gateways, played side by side.
fn faults() -> Result<()> {
    let chosen = |cell: &Cell| FAULTS.contains(&(cell.kind, cell.fault.name));
    let cells: Vec<Cell> = matrix().into_iter().filter(chosen).collect();
    let play = Play {
        cells: &cells,
        seed: 77,
        side_by_side: 2,
        record: None,
    };
    let judged = play.all(&|_| ())?;
    let lines: Vec<String> = judged.iter().map(page::line).collect();
    // What may stay unknown on a crowded host is `accuracy`'s to say: here it is data all the same.
    let seen = |mark| matches!(mark, Mark::Right | Mark::Unknown | Mark::Silent);
    ensure!(
        judged.iter().all(|cell| seen(cell.mark)),
        "{}",
        lines.join("\n")
    );
    ensure!(cells.len() == FAULTS.len(), "a fault is not in the matrix");
    Ok(())
}

/// An upstream that leaves idle connections soon, behind a server that a retry hides.
fn hasty() -> Result<(Nginx, Upstream)> {
    let upstream = Upstream::faulty(&["--share", "threads", "--idle", "1"])?;
    let nobody = format!("127.0.0.1:{}", free_port("127.0.0.1")?);
    let gateway = Nginx::start(&Plan {
        upstreams: vec![nobody, upstream.addr.clone()],
        ..Plan::before(&upstream.addr)
    })?;
    Ok((gateway, upstream))
}

fn ask(gateway: &Nginx, count: usize) -> Result<()> {
    let mut client = gateway.client()?;
    (0..count).try_for_each(|_| client.get("/fault/ok/x").map(drop))
}

/// Every alert and every panel's query, but for the alert of an agent that is gone.
fn all(prometheus: &Prometheus) -> Result<Vec<(String, String)>> {
    let mut all = prometheus.alerts()?;
    let is_empty = |name: &str| EMPTY.iter().any(|(empty, _)| *empty == name);
    all.retain(|(name, _)| name != "Probe502Down" && !is_empty(name));
    for (name, dashboard) in dashboards()? {
        let queries = queries(&dashboard).into_iter();
        all.extend(queries.map(|text| (name.clone(), text)));
    }
    Ok(all)
}

/// Which of these have no data yet.
fn without_data(prometheus: &Prometheus, all: &[(String, String)]) -> Vec<String> {
    let empty = |text: &str| !has_data(&prometheus.query(text));
    let without = all.iter().filter(|(_, text)| empty(text));
    without
        .map(|(name, text)| format!("{name}: {text}"))
        .collect()
}

#[test]
fn every_panel_and_every_alert_has_data_of_real_faults() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let (folder, poors) = (Folder::make()?, Folder::make()?);
    let history = folder.path("history.db");
    let file = format!("status = [500, 502, 503, 504]\nsilent = true\nhistory = {history:?}\n");
    let mut whole = Daemon::start(&folder.path(""), &file, &[])?;
    let poor = poor(&poors.path(""))?;
    let prometheus = Prometheus::of(&[&whole, &poor], &folder)?;
    faults()?;
    let (hasty, _upstream) = hasty()?;
    let nobody = Nginx::before(&format!("127.0.0.1:{}", free_port("127.0.0.1")?))?;
    let all = all(&prometheus)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        ask(&hasty, 8)?;
        // More than fits between two reads.
        poor.signal("STOP")?;
        ask(&nobody, 40)?;
        poor.signal("CONT")?;
        std::thread::sleep(Duration::from_millis(1500));
        let empty = without_data(&prometheus, &all);
        if empty.is_empty() {
            break;
        }
        ensure!(Instant::now() < deadline, "no data: {}", empty.join("\n"));
    }
    for (name, why) in EMPTY {
        say(&format!("{name} is empty: {why}"));
    }
    whole.end()?;
    prometheus.shows("query?query=up%7Bjob%3D%22probe502%22%7D%3D%3D0", has_data)
}
