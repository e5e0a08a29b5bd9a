//! The daemon's counters against its clients' own, behind two gateways at once.

use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow, ensure};
use probe502_tests::client::Client;
use probe502_tests::daemon::Daemon;
use probe502_tests::gateways::{Gateway, Kind, Plan, Server, Site};
use probe502_tests::paths::Folder;
use probe502_tests::skip::{say, unable};
use probe502_tests::upstream::Upstream;

/// Clients of one gateway that ask at once.
const CLIENTS: usize = 4;
/// What each of them asks before all counts are compared: what that sends fits into the agent's ring,
/// however late the agent reads it.
const EACH: usize = 50;
const FAULTS: [&str; 4] = ["ok", "close-without-answer", "partial-header", "says-502"];
const GATEWAYS: [Kind; 2] = [Kind::Nginx, Kind::Haproxy];

/// How many requests are asked and counted; `PROBE502_REQUESTS=50000` makes a thorough run of it.
fn requests() -> Result<usize> {
    match std::env::var("PROBE502_REQUESTS") {
        Ok(count) => count.parse().context("PROBE502_REQUESTS is no number"),
        Err(_) => Ok(2000),
    }
}

/// Asks for all faults in turn; returns how many answers were 502.
fn ask(addr: SocketAddr, round: usize) -> Result<u64> {
    let mut failed = 0;
    for number in 0..EACH {
        let fault = FAULTS[number % FAULTS.len()];
        let answer = Client::connect(addr)?.get(&format!("/fault/{fault}/{round}-{number}"))?;
        failed += u64::from(answer.status == 502);
    }
    Ok(failed)
}

/// The same by several clients at once.
fn ask_at_once(addr: SocketAddr, round: usize) -> Result<u64> {
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(move || ask(addr, round)))
            .collect();
        let failed = asking
            .into_iter()
            .map(|one| one.join().map_err(|_| anyhow!("a client panicked"))?);
        failed.sum()
    })
}

fn before(kind: Kind, upstream: &Upstream) -> Result<Gateway> {
    let servers = vec![Server::Tcp(upstream.addr.clone())];
    let plan = Plan {
        sites: vec![Site::on("127.0.0.1", servers)?],
        ..Plan::default()
    };
    Gateway::start(kind, &plan)
}

#[test]
fn the_counters_are_the_clients_own() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let folder = Folder::make()?;
    let upstream = Upstream::faulty(&["--share", "threads"])?;
    let start = |kind| before(kind, &upstream);
    let gateways: Vec<Gateway> = GATEWAYS.into_iter().map(start).collect::<Result<_>>()?;
    let ports: Vec<u16> = gateways.iter().map(|one| one.addr.port()).collect();
    let daemon = Daemon::start(&folder.path(""), &format!("port = {ports:?}\n"), &[])?;
    let rounds = requests()?.div_ceil(GATEWAYS.len() * CLIENTS * EACH);
    let mut failed = [0; GATEWAYS.len()];
    let family = "probe502_answers_total";
    for round in 0..rounds {
        let more = std::thread::scope(|scope| -> Result<Vec<u64>> {
            let asking: Vec<_> = gateways
                .iter()
                .map(|gateway| scope.spawn(move || ask_at_once(gateway.addr, round)))
                .collect();
            asking
                .into_iter()
                .map(|one| one.join().map_err(|_| anyhow!("a gateway's panicked"))?)
                .collect()
        })?;
        for (kind, (all, more)) in GATEWAYS.iter().zip(failed.iter_mut().zip(more)) {
            *all += more;
            let gateway = format!("gateway=\"{}\"", kind.name());
            daemon.reaches(family, &gateway, *all)?;
        }
    }
    let asked = rounds * GATEWAYS.len() * CLIENTS * EACH;
    let sum: u64 = failed.iter().sum();
    ensure!(sum >= asked as u64 / 2, "only {sum} of {asked} failed");
    daemon.counts(family, sum)?;
    say(&format!(
        "{sum} of {asked} answers failed, {failed:?} of them behind {GATEWAYS:?}, and as many are counted"
    ));
    let series = daemon.series(family)?;
    let causes = ["app.closed-without-answer", "relayed.upstream"];
    for (cause, kind) in causes
        .iter()
        .flat_map(|cause| GATEWAYS.map(|kind| (cause, kind)))
    {
        let wanted = [
            format!("cause=\"{cause}\""),
            format!("gateway=\"{}\"", kind.name()),
            "status=\"502\"".to_owned(),
        ];
        let is_it = |labels: &String| wanted.iter().all(|label| labels.contains(label));
        ensure!(series.keys().any(is_it), "no {wanted:?}: {series:?}");
    }
    Ok(())
}
