//! Plays cells: a gateway for many at once, one agent that watches them all.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Cell;
use super::cast::{Cast, Own};
use super::door::{Door, Outcome};
use super::judge::{Judged, Verdicts};
use super::luck::Luck;
use crate::agent::Agent;
use crate::gateways::{Gateway, Kind, Plan, Site};

/// Whether cells that share a gateway fail at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// All at once.
    Together,
    /// One after the other.
    Alone,
}

impl Pace {
    fn letter(self) -> &'static str {
        match self {
            Self::Together => "",
            Self::Alone => "alone-",
        }
    }
}

/// How many cells share a gateway and an agent.
const TOGETHER: usize = 12;

/// How long verdicts may take after the last answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Statuses that a failed answer can have.
const WATCHED: &str = "500,502,503,504";

/// One cell that is set up: its upstreams live until it is dropped.
struct Set {
    cell: Cell,
    cast: Cast,
    site: Site,
    door: Arc<Door>,
    played: Option<Result<Outcome>>,
}

/// Plays these cells of one gateway; what happened in each, in their order.
///
/// # Errors
/// When the gateway or the agent does not start.
pub fn gateway(
    kind: Kind,
    cells: &[Cell],
    seed: u64,
    pace: Pace,
    records: &Path,
) -> Result<Vec<Judged>> {
    let mut judged = Vec::new();
    for (number, cells) in cells.chunks(TOGETHER).enumerate() {
        let record = records.join(format!("{}-{}{number}.p502", kind.name(), pace.letter()));
        judged.extend(together(kind, cells, seed, pace, &record)?);
    }
    Ok(judged)
}

fn together(
    kind: Kind,
    cells: &[Cell],
    seed: u64,
    pace: Pace,
    record: &Path,
) -> Result<Vec<Judged>> {
    let (mut sets, mut judged) = (Vec::new(), Vec::new());
    for (cell, set) in cells.iter().zip(set_up(cells, seed)) {
        match set {
            Ok(set) => sets.push(set),
            Err(error) => judged.push(Judged::broken(*cell, &error)),
        }
    }
    let gateways = gateways(kind, &sets)?;
    let ports: Vec<String> = sets
        .iter()
        .map(|set| set.site.addr.port().to_string())
        .collect();
    let record_words = record.display().to_string();
    let agent = Agent::watch(&[
        "--status",
        WATCHED,
        "--port",
        &ports.join(","),
        "--record",
        &record_words,
    ])?;
    match pace {
        Pace::Together => play(&mut sets, seed),
        Pace::Alone => {
            for set in &mut sets {
                set.played = Some((set.cast.play)(&set.door));
            }
        }
    }
    wait_for_verdicts(&agent, &sets);
    let report = agent.finish()?;
    let mut verdicts = Verdicts::of(&report, record);
    for set in &mut sets {
        let played = set.played.take().context("not played")?;
        judged.push(verdicts.judge(set.cell, &played, &set.door.asked()));
    }
    judged.extend(verdicts.strangers(kind));
    drop(sets);
    drop(gateways);
    Ok(judged)
}

/// The upstreams of all cells, made side by side: most of it is waiting.
fn set_up(cells: &[Cell], seed: u64) -> Vec<Result<Set>> {
    std::thread::scope(|scope| {
        let made: Vec<_> = cells
            .iter()
            .map(|cell| scope.spawn(move || set(*cell, seed)))
            .collect();
        let joined = made.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("setting up panicked")))
        });
        joined.collect()
    })
}

fn set(cell: Cell, seed: u64) -> Result<Set> {
    let mut luck = Luck::of(seed, &cell.name());
    let cast = (cell.fault.cast)(&mut luck, cell.kind)?;
    let netns = cast.own.as_ref().and_then(|own| own.netns.as_ref());
    let host = netns.map_or("127.0.0.1", |(_, host)| host);
    let addr = std::net::SocketAddr::new(host.parse()?, luck.port());
    let site = Site {
        addr,
        servers: cast.servers.clone(),
        tls: cast.tls.clone(),
        rule: cast.rule,
    };
    Ok(Set {
        cell,
        cast,
        site,
        door: Arc::new(Door::at(addr, cell.kind)),
        played: None,
    })
}

/// One for all that share, and one for each that needs its own.
fn gateways(kind: Kind, sets: &[Set]) -> Result<Vec<Gateway>> {
    let (own, shared): (Vec<&Set>, Vec<&Set>) = sets.iter().partition(|set| set.cast.own.is_some());
    let mut gateways = Vec::new();
    if !shared.is_empty() {
        let sites = shared.iter().map(|set| set.site.clone()).collect();
        gateways.push(Gateway::start(
            kind,
            &Plan {
                sites,
                ..Plan::default()
            },
        )?);
    }
    for set in own {
        let Own { netns, descriptors } = set.cast.own.clone().unwrap_or_default();
        let plan = Plan {
            sites: vec![set.site.clone()],
            netns: netns.map(|(name, _)| name),
            descriptors,
            ..Plan::default()
        };
        gateways.push(Gateway::start(kind, &plan)?);
    }
    Ok(gateways)
}

fn play(sets: &mut [Set], seed: u64) {
    std::thread::scope(|scope| {
        for set in sets {
            let pause = Luck::of(seed, &format!("start of {}", set.cell.name())).pause(0, 500);
            scope.spawn(move || {
                std::thread::sleep(pause);
                set.played = Some((set.cast.play)(&set.door));
            });
        }
    });
}

/// Until each failed answer has a verdict, and a moment more for one too many.
fn wait_for_verdicts(agent: &Agent, sets: &[Set]) {
    let deadline = Instant::now() + PATIENCE;
    let asked = sets.iter().flat_map(|set| set.door.asked());
    for outcome in asked.filter(|outcome| outcome.status >= Some(500)) {
        let left = deadline.saturating_duration_since(Instant::now());
        let _ = agent.verdict(left, |seen| super::judge::is_about(seen, &outcome));
    }
    std::thread::sleep(Duration::from_millis(300));
}
