//! Plays cells: one agent watches from before the first gateway starts; a gateway meets its faults one
//! after the other, and several gateways do so side by side.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::Cell;
use super::cast::{Cast, Own};
use super::door::{Door, Outcome};
use super::judge::{Judged, Mark, Verdicts};
use super::luck::Luck;
use crate::agent::{Agent, Seen};
use crate::gateways::{Gateway, Kind, Plan, Site};

/// How many cells share a gateway.
const BATCH: usize = 24;

/// How long a cell waits for its verdict.
const PATIENCE: Duration = Duration::from_secs(3);

/// Statuses that a failed answer can have.
const WATCHED: &str = "500,502,503,504";

/// Which cells to play, and how.
pub struct Play<'a> {
    /// These.
    pub cells: &'a [Cell],
    /// What ports, delays and sizes come from.
    pub seed: u64,
    /// How many gateways at once.
    pub side_by_side: usize,
    /// Where all that the agent heard is recorded.
    pub record: Option<&'a Path>,
}

/// A cell and the port where its site will be.
#[derive(Clone, Copy)]
struct Stand {
    cell: Cell,
    port: u16,
}

/// One cell that is set up: its upstreams live until it is dropped.
struct Set {
    cell: Cell,
    cast: Cast,
    site: Site,
    door: Door,
}

/// One cell that was played.
struct Done {
    cell: Cell,
    played: Result<Outcome>,
    asked: Vec<Outcome>,
}

impl Play<'_> {
    /// Plays them all and judges each; each is told as it goes, before it is known whether a verdict
    /// too many comes later.
    ///
    /// # Errors
    /// When the agent does not start, or does not live to the end.
    pub fn all(&self, tell: &(dyn Fn(&Judged) + Sync)) -> Result<Vec<Judged>> {
        let stands: Vec<Stand> = self.cells.iter().map(|cell| self.stand(*cell)).collect();
        let agent = self.agent(&stands)?;
        let batches = Mutex::new(self.batches(&stands));
        let next = || {
            let mut batches = batches.lock().unwrap_or_else(PoisonError::into_inner);
            batches.pop_front()
        };
        let done: Vec<Done> = std::thread::scope(|scope| {
            let work = || -> Vec<Done> {
                let batches = std::iter::from_fn(next);
                batches
                    .flat_map(|batch| self.batch(&batch, &agent, tell))
                    .collect()
            };
            let workers: Vec<_> = (0..self.side_by_side).map(|_| scope.spawn(work)).collect();
            let done = workers.into_iter().filter_map(|worker| worker.join().ok());
            done.flatten().collect()
        });
        // For a verdict too many.
        std::thread::sleep(Duration::from_secs(1));
        let mut verdicts = Verdicts::of(agent.finish()?.verdicts);
        let mut judged: Vec<Judged> = done
            .iter()
            .map(|done| verdicts.judge(done.cell, &done.played, &done.asked))
            .collect();
        judged.sort_by_key(|judged| (judged.kind, place(self.cells, judged)));
        let strangers = verdicts.strangers().into_iter();
        judged.extend(strangers.filter_map(|seen| stranger(&stands, seen)));
        Ok(judged)
    }

    fn stand(&self, cell: Cell) -> Stand {
        let port = Luck::of(self.seed, &format!("door of {}", cell.name())).port();
        Stand { cell, port }
    }

    fn agent(&self, stands: &[Stand]) -> Result<Agent> {
        let ports: Vec<String> = stands.iter().map(|stand| stand.port.to_string()).collect();
        let ports = ports.join(",");
        let mut words = vec!["--status", WATCHED, "--port", &ports];
        let record = self.record.map(|record| record.display().to_string());
        if self.cells.iter().any(|cell| cell.fault.truth.is_cut()) {
            words.push("--silent");
        }
        if let Some(record) = &record {
            words.extend(["--record", record]);
        }
        Agent::watch(&words)
    }

    /// The cells of each gateway in an order of chance, the gateways taking turns.
    fn batches(&self, stands: &[Stand]) -> VecDeque<Vec<Stand>> {
        let mut own: BTreeMap<Kind, Vec<Stand>> = BTreeMap::new();
        for stand in stands {
            own.entry(stand.cell.kind).or_default().push(*stand);
        }
        let mut turns = Vec::new();
        for (kind, stands) in &mut own {
            Luck::of(self.seed, kind.name()).shuffle(stands);
            turns.extend(stands.chunks(BATCH).map(<[Stand]>::to_vec).enumerate());
        }
        turns.sort_by_key(|(turn, _)| *turn);
        turns.into_iter().map(|(_, batch)| batch).collect()
    }

    fn batch(&self, stands: &[Stand], agent: &Agent, tell: &(dyn Fn(&Judged) + Sync)) -> Vec<Done> {
        let (mut sets, mut done) = (Vec::new(), Vec::new());
        for (stand, set) in stands.iter().zip(set_up(stands, self.seed)) {
            match set {
                Ok(set) => sets.push(set),
                Err(error) => done.push(Done::not(stand.cell, &error)),
            }
        }
        for broken in &done {
            tell(&broken.so_far(agent));
        }
        let gateways = stands.first().map(|first| gateways(first.cell.kind, &sets));
        for set in &mut sets {
            let own = match &gateways {
                Some(Err(error)) => Done::not(set.cell, error),
                Some(Ok(_)) | None => self.cell(set, agent),
            };
            tell(&own.so_far(agent));
            done.push(own);
        }
        // The gateways outlive their upstreams, as they did while these were asked.
        drop(sets);
        drop(gateways);
        done
    }

    fn cell(&self, set: &mut Set, agent: &Agent) -> Done {
        let name = set.cell.name();
        std::thread::sleep(Luck::of(self.seed, &format!("pause before {name}")).pause(0, 200));
        let played = (set.cast.play)(&set.door);
        let asked = set.door.asked();
        let is_cut = set.cell.fault.truth.is_cut();
        for outcome in asked
            .iter()
            .filter(|asked| is_cut || asked.status >= Some(500))
        {
            // Where the verdict does not know the path, it comes in the same time.
            let _ = agent.says(PATIENCE, &outcome.path);
        }
        let cell = set.cell;
        Done {
            cell,
            played,
            asked,
        }
    }
}

impl Done {
    fn not(cell: Cell, error: &anyhow::Error) -> Self {
        Self {
            cell,
            played: Err(anyhow!("{error:#}")),
            asked: Vec::new(),
        }
    }

    fn so_far(&self, agent: &Agent) -> Judged {
        let words = self
            .asked
            .iter()
            .flat_map(|asked| [asked.path.clone(), asked.client.to_string()]);
        let said = agent.verdicts_with(&words.collect::<Vec<_>>());
        Verdicts::of(said).judge(self.cell, &self.played, &self.asked)
    }
}

fn place(cells: &[Cell], judged: &Judged) -> Option<usize> {
    let same = |cell: &Cell| cell.kind == judged.kind && cell.fault.name == judged.fault;
    cells.iter().position(same)
}

/// A verdict about no request of any cell. Of other gateways, and of other clients that came to one of
/// ours, nothing is known here.
fn stranger(stands: &[Stand], seen: Seen) -> Option<Judged> {
    let port = seen.field("/gateway/listen").rsplit(':').next()?;
    let own = stands.iter().find(|stand| stand.port.to_string() == port)?;
    let host = seen.field("/request/host");
    (host.is_empty() || host == "shop.test").then(|| Judged {
        kind: own.cell.kind,
        fault: own.cell.fault.name.to_owned(),
        mark: Mark::Spurious,
        status: None,
        latency: None,
        note: "about no request of any cell".to_owned(),
        verdict: seen.verdict,
    })
}

/// How many upstreams start at once: most of it is waiting, and a machine has few processors.
const STARTING: usize = 6;

/// The upstreams of all cells.
fn set_up(stands: &[Stand], seed: u64) -> Vec<Result<Set>> {
    let mut sets = Vec::new();
    for some in stands.chunks(STARTING) {
        sets.extend(std::thread::scope(|scope| {
            let start = |stand: &Stand| {
                scope.spawn({
                    let stand = *stand;
                    move || set(stand, seed)
                })
            };
            let made: Vec<_> = some.iter().map(start).collect();
            let joined = made.into_iter().map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("setting up panicked")))
            });
            joined.collect::<Vec<_>>()
        }));
    }
    sets
}

fn set(Stand { cell, port }: Stand, seed: u64) -> Result<Set> {
    let mut luck = Luck::of(seed, &cell.name());
    let cast = (cell.fault.cast)(&mut luck, cell.kind)?;
    let netns = cast.own.as_ref().and_then(|own| own.netns.as_ref());
    let host = netns.map_or("127.0.0.1", |(_, host)| host);
    let addr = std::net::SocketAddr::new(host.parse()?, port);
    let site = Site {
        addr,
        servers: cast.servers.clone(),
        tls: cast.tls.clone(),
        rule: cast.rule,
    };
    let door = Door::at(addr, cell.kind);
    Ok(Set {
        cell,
        cast,
        site,
        door,
    })
}

/// One for all that share, and one for each that needs its own.
fn gateways(kind: Kind, sets: &[Set]) -> Result<Vec<Gateway>> {
    let (own, shared): (Vec<&Set>, Vec<&Set>) = sets.iter().partition(|set| set.cast.own.is_some());
    let mut gateways = Vec::new();
    if !shared.is_empty() {
        let sites = shared.iter().map(|set| set.site.clone()).collect();
        let plan = Plan {
            sites,
            ..Plan::default()
        };
        gateways.push(Gateway::start(kind, &plan)?);
    }
    for set in own {
        let Own {
            netns,
            descriptors,
            patience,
        } = set.cast.own.clone().unwrap_or_default();
        let plan = Plan {
            sites: vec![set.site.clone()],
            netns: netns.map(|(name, _)| name),
            descriptors,
            patience,
            ..Plan::default()
        };
        gateways.push(Gateway::start(kind, &plan)?);
    }
    Ok(gateways)
}
