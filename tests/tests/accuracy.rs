//! A part of the matrix: every fault once, behind one of ten gateways or another.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use probe502_tests::accuracy::judge::{Judged, Mark};
use probe502_tests::accuracy::run::Play;
use probe502_tests::accuracy::{Cell, page, sample};
use probe502_tests::gateways::Kind;
use probe502_tests::skip::{say, skip, unable};

/// Nothing wrong, nothing missed, nothing too much, and each fault made.
#[test]
fn each_fault_behind_one_gateway_or_another() -> Result<()> {
    if unable() {
        return Ok(());
    }
    let missing: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| kind.program().is_err())
        .collect();
    for kind in &missing {
        skip(&format!("{} is not installed", kind.name()));
    }
    let cells = sample().into_iter();
    let cells: Vec<Cell> = cells.filter(|cell| !missing.contains(&cell.kind)).collect();
    let (broken, mut judged) = parted(play(&cells, 3, "accuracy.p502")?);
    // A crowded machine breaks some upstreams too late; one by one it has the time.
    if !broken.is_empty() {
        say(&lines(&broken));
        let is_one = |cell: &Cell| {
            let same = |one: &Judged| (one.kind, &*one.fault) == (cell.kind, cell.fault.name);
            broken.iter().any(same)
        };
        let again: Vec<Cell> = cells.into_iter().filter(is_one).collect();
        judged.extend(play(&again, 1, "accuracy-again.p502")?);
    }
    say(&lines(&judged));
    let failed = judged
        .iter()
        .filter(|cell| cell.mark.is_bad() || cell.mark == Mark::Broken);
    let failed: Vec<String> = failed
        .map(|cell| format!("{}\n{:#}", page::line(cell), cell.verdict))
        .collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

fn play(cells: &[Cell], side_by_side: usize, recording: &str) -> Result<Vec<Judged>> {
    let kept = std::env::var_os("PROBE502_KEEP").map(PathBuf::from);
    let record = kept.map(|dir| dir.join(recording));
    let play = Play {
        cells,
        seed: 502,
        side_by_side,
        record: record.as_deref(),
    };
    play.all(&|_| ())
}

/// The cells whose faults were not made, and the others.
fn parted(judged: Vec<Judged>) -> (Vec<Judged>, Vec<Judged>) {
    let is_broken = |cell: &Judged| cell.mark == Mark::Broken;
    judged.into_iter().partition(is_broken)
}

fn lines(judged: &[Judged]) -> String {
    let lines: Vec<String> = judged.iter().map(page::line).collect();
    lines.join("\n")
}
