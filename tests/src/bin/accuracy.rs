//! Plays every fault behind every gateway and writes what was said of each: `cargo xtask accuracy`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use probe502_tests::accuracy::judge::{Judged, Mark};
use probe502_tests::accuracy::run::{self, Pace};
use probe502_tests::accuracy::{Cell, matrix, page, sample};
use probe502_tests::gateways::Kind;
use probe502_tests::storm::{self, Weather};

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
    let kinds = [
        Kind::Nginx,
        Kind::Haproxy,
        Kind::Envoy,
        Kind::Caddy,
        Kind::Traefik,
    ];
    let named = |kind: &Kind| arguments.gateway.iter().any(|name| name == kind.name());
    let chosen = Kind::ALL.into_iter().filter(named);
    let chosen: Vec<Kind> = if arguments.gateway.is_empty() {
        kinds.to_vec()
    } else {
        chosen.collect()
    };
    std::fs::create_dir_all(&arguments.keep)?;
    let (mut good, mut lines) = (true, String::new());
    for kind in chosen {
        let weather = Weather {
            requests: arguments.requests,
            at_once: arguments.at_once,
            identical: arguments.identical,
            seed: arguments.seed[0],
        };
        let record = arguments.keep.join(format!("storm-{}.p502", kind.name()));
        let sum = storm::behind(kind, &weather, Some(&record.display().to_string()))?;
        println!("{}", sum.line());
        lines += &format!("{}\n{}\n", sum.line(), sum.examples.join("\n"));
        good &= sum.is_good();
    }
    std::fs::write(arguments.keep.join("storm.txt"), lines)?;
    Ok(good)
}

/// Whether nothing was wrong, missed or too much.
fn play(arguments: &Arguments) -> Result<bool> {
    let cells = chosen(arguments);
    ensure!(!cells.is_empty(), "no such cell");
    std::fs::create_dir_all(&arguments.keep)?;
    let mut judged = Vec::new();
    let mut versions = BTreeMap::new();
    for kind in Kind::ALL {
        let own: Vec<Cell> = cells
            .iter()
            .filter(|cell| cell.kind == kind)
            .copied()
            .collect();
        if own.is_empty() {
            continue;
        }
        match kind.version() {
            Ok(version) => versions.insert(kind, version),
            Err(error) => {
                eprintln!("skipped {} cells of {}: {error:#}", own.len(), kind.name());
                continue;
            }
        };
        for seed in &arguments.seed {
            judged.extend(told(kind, &own, *seed, arguments)?);
        }
    }
    keep(arguments, &judged)?;
    println!("{}", page::totals(&judged));
    if let Some(file) = &arguments.page {
        std::fs::write(file, page::page(&judged, &arguments.seed, &versions))?;
    }
    let bad = |cell: &Judged| {
        cell.mark.is_bad() || cell.alone.as_ref().is_some_and(|alone| alone.mark.is_bad())
    };
    Ok(!judged.iter().any(bad))
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

fn told(kind: Kind, cells: &[Cell], seed: u64, arguments: &Arguments) -> Result<Vec<Judged>> {
    eprintln!("{}: {} cells, seed {seed}", kind.name(), cells.len());
    let dir = arguments.keep.join(seed.to_string());
    std::fs::create_dir_all(&dir)?;
    let play = |cells: &[Cell], pace| {
        run::gateway(kind, cells, seed, pace, &dir)
            .with_context(|| format!("behind {}", kind.name()))
    };
    let mut judged = play(cells, Pace::Together)?;
    let unknown = |cell: &&Cell| {
        let same = |judged: &&Judged| judged.fault == cell.fault.name;
        judged
            .iter()
            .find(same)
            .is_some_and(|judged| judged.mark == Mark::Unknown)
    };
    let again: Vec<Cell> = cells.iter().filter(unknown).copied().collect();
    for alone in play(&again, Pace::Alone)? {
        let first = judged.iter_mut().find(|judged| judged.fault == alone.fault);
        if let Some(first) = first {
            first.alone = Some(Box::new(alone));
        } else {
            judged.push(alone);
        }
    }
    for cell in &judged {
        println!("{}", page::line(cell));
        if let Some(alone) = &cell.alone {
            println!("alone    {}", page::line(alone));
        }
        if arguments.cell.is_some() || cell.fault == "(no request)" {
            let verdict = cell
                .seen
                .as_ref()
                .map(|seen| serde_json::to_string_pretty(&seen.verdict));
            println!("{}", verdict.transpose()?.unwrap_or_default());
        }
    }
    Ok(judged)
}

/// A line for each cell, with its whole verdict; recordings only of what was not right.
fn keep(arguments: &Arguments, judged: &[Judged]) -> Result<()> {
    let mut lines = String::new();
    for cell in judged {
        let verdict = cell.seen.as_ref().map(|seen| seen.verdict.clone());
        let line = serde_json::json!({
            "gateway": cell.kind.name(), "fault": cell.fault, "mark": cell.mark.name(),
            "status": cell.status, "note": cell.note, "verdict": verdict, "record": cell.record,
        });
        lines += &format!("{line}\n");
    }
    std::fs::write(arguments.keep.join("cells.jsonl"), lines)?;
    let fine = |cell: &Judged| !cell.mark.is_bad() && cell.mark != Mark::Unknown;
    for record in judged.iter().map(|cell| &cell.record) {
        let whole = judged
            .iter()
            .filter(|cell| cell.record == *record)
            .all(fine);
        if whole && arguments.cell.is_none() && record.exists() {
            std::fs::remove_file(record)?;
        }
    }
    Ok(())
}
