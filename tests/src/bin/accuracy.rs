//! Plays every fault behind every gateway and writes what was said of each: `cargo xtask accuracy`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use probe502_tests::accuracy::judge::{Judged, Mark};
use probe502_tests::accuracy::kept::{self, Played};
use probe502_tests::accuracy::run::Play;
use probe502_tests::accuracy::unfailed::is_foreseen;
use probe502_tests::accuracy::{Cell, matrix, page, sample};
use probe502_tests::gateways::Kind;
use probe502_tests::storm::{Weather, play};

#[derive(Parser)]
#[command(about = "Every fault behind every gateway, and what was said of each")]
struct Arguments {
    /// What ports, delays and sizes come from; more than one plays the matrix as often.
    #[arg(long, value_delimiter = ',', default_value = "502")]
    seed: Vec<u64>,
    /// Only these gateways.
    #[arg(long, value_delimiter = ',')]
    gateway: Vec<String>,
    /// Only faults whose name holds one of these words.
    #[arg(long, value_delimiter = ',')]
    fault: Vec<String>,
    /// One cell, `GATEWAY/FAULT`: shows its verdict whole.
    #[arg(long)]
    cell: Option<String>,
    /// Each fault once, behind one gateway or another.
    #[arg(long)]
    sample: bool,
    /// How many gateways meet their faults at once.
    #[arg(long, default_value_t = 4)]
    side_by_side: usize,
    /// Plays nothing: writes the page of the plays that are kept.
    #[arg(long)]
    kept: bool,
    /// Thousands of requests at once instead, good and broken ones mixed.
    #[arg(long)]
    storm: bool,
    /// How many requests a storm sends behind each gateway.
    #[arg(long, default_value_t = 9000)]
    requests: usize,
    /// How many of them at once.
    #[arg(long, default_value_t = 2000)]
    at_once: usize,
    /// All of a storm's requests ask for the same line.
    #[arg(long)]
    identical: bool,
    /// Where a storm's page goes; with it, each gateway has an identical one too.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Where recordings and the cells' lines go.
    #[arg(long, default_value = "target/accuracy")]
    keep: PathBuf,
    /// Where the page goes; none, and none is written.
    #[arg(long)]
    page: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.storm {
        blow(&arguments)
    } else {
        play(&arguments)
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Behind those gateways that take a storm.
fn blow(arguments: &Arguments) -> Result<bool> {
    let named = |kind: &Kind| arguments.gateway.iter().any(|name| name == kind.name());
    let chosen: Vec<Kind> = if arguments.gateway.is_empty() {
        play::KINDS.to_vec()
    } else {
        Kind::ALL.into_iter().filter(named).collect()
    };
    let weather = |seed: &u64, identical| Weather {
        requests: arguments.requests,
        at_once: arguments.at_once,
        identical,
        seed: *seed,
        ..Weather::default()
    };
    let both = arguments.write.is_some() && !arguments.identical;
    let seeds = arguments.seed.iter();
    let mut weathers: Vec<Weather> = seeds
        .map(|seed| weather(seed, arguments.identical))
        .collect();
    weathers.extend(both.then(|| weather(&arguments.seed[0], true)));
    let write = arguments.write.as_deref();
    play::all(&chosen, &weathers, &arguments.keep, write)
}

/// Whether nothing was wrong, missed or too much, no unknown is without a reason, and every fault failed
/// where it is known to.
fn play(arguments: &Arguments) -> Result<bool> {
    std::fs::create_dir_all(&arguments.keep)?;
    let mut plays = Vec::new();
    for seed in &arguments.seed {
        plays.push(if arguments.kept {
            Played::read(&arguments.keep.join(format!("{seed}.jsonl")))?
        } else {
            played(*seed, arguments)?
        });
    }
    if let Some(file) = &arguments.page {
        std::fs::write(file, page::page(&plays))?;
    }
    let cells: Vec<&Judged> = plays.iter().flat_map(|play| &play.cells).collect();
    for (kind, fault) in page::stale(&cells) {
        println!(
            "explained as unknown, and right by now: {}/{fault}",
            kind.name()
        );
    }
    for cell in cells.iter().filter(|cell| !is_foreseen(cell)) {
        println!("no failed answer came of it: {}", page::line(cell));
    }
    let good = |cell: &&Judged| {
        let unknown = cell.mark == Mark::Unknown && !explained(cell);
        !cell.mark.is_bad() && !unknown && is_foreseen(cell)
    };
    Ok(cells.iter().all(good))
}

fn explained(cell: &Judged) -> bool {
    page::why_unknown(cell).is_some()
}

/// Plays one seed; what is known of it is on the disk as it goes.
fn played(seed: u64, arguments: &Arguments) -> Result<Played> {
    let (cells, versions) = installed(chosen(arguments));
    ensure!(!cells.is_empty(), "no such cell");
    let (began, mut played) = (Instant::now(), Played::here(seed, &versions));
    let file = arguments.keep.join(format!("{seed}.jsonl"));
    let record = arguments.keep.join(format!("{seed}.p502"));
    std::fs::write(&file, format!("{}\n", played.head()))?;
    let log = Mutex::new(std::fs::File::options().append(true).open(&file)?);
    let tell = |cell: &Judged| {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        println!("{:>5} {}", began.elapsed().as_secs(), page::line(cell));
        if arguments.cell.is_some() {
            println!("{:#}", cell.verdict);
        }
        if let Err(error) = writeln!(log, "{}", kept::line(cell)) {
            eprintln!("{}: {error}", file.display());
        }
    };
    let play = Play {
        cells: &cells,
        seed,
        side_by_side: arguments.side_by_side,
        record: Some(&record),
    };
    let cells = play.all(&tell)?;
    played.end(began.elapsed(), cells);
    std::fs::write(&file, played.text())?;
    println!("\nseed {seed}: what was not right");
    for cell in played.cells.iter().filter(|cell| cell.mark != Mark::Right) {
        println!("{}", page::line(cell));
    }
    println!("{}", page::totals(&played.cells));
    Ok(played)
}

/// Those whose gateway is on this host, and the gateways' versions.
fn installed(cells: Vec<Cell>) -> (Vec<Cell>, BTreeMap<Kind, String>) {
    let mut versions = BTreeMap::new();
    for kind in Kind::ALL {
        if !cells.iter().any(|cell| cell.kind == kind) {
            continue;
        }
        match kind.version() {
            Ok(version) => {
                versions.insert(kind, version);
            }
            Err(error) => eprintln!("skipped {}: {error:#}", kind.name()),
        }
    }
    let cells = cells.into_iter();
    let here = cells.filter(|cell| versions.contains_key(&cell.kind));
    (here.collect(), versions)
}

fn chosen(arguments: &Arguments) -> Vec<Cell> {
    let all = if arguments.sample { sample() } else { matrix() };
    let fits = |wanted: &[String], name: &str| {
        wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()))
    };
    let named = |kind: Kind| {
        arguments.gateway.is_empty() || arguments.gateway.iter().any(|name| name == kind.name())
    };
    all.into_iter()
        .filter(|cell| named(cell.kind) && fits(&arguments.fault, cell.fault.name))
        .filter(|cell| {
            arguments
                .cell
                .as_ref()
                .is_none_or(|name| *name == cell.name())
        })
        .collect()
}
