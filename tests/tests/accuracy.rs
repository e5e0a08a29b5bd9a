//! A part of the matrix: every fault once, behind one of ten gateways or another.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use probe502_tests::accuracy::gate::{complaints, is_open};
use probe502_tests::accuracy::judge::Judged;
use probe502_tests::accuracy::run::Play;
use probe502_tests::accuracy::{Cell, page, sample};
use probe502_tests::gateways::Kind;
use probe502_tests::skip::{say, skip, unable};

/// How often a cell is played that was not made, or nothing could be claimed of.
const TRIES: usize = 3;

/// Nothing wrong, nothing missed, nothing too much, hardly anything unknown, and each fault made.
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
    let mut left: Vec<Cell> = cells.filter(|cell| !missing.contains(&cell.kind)).collect();
    let (mut judged, mut open) = (Vec::new(), Vec::new());
    for turn in 1..=TRIES {
        // One by one a crowded machine has the time.
        let side_by_side = if turn == 1 { 3 } else { 1 };
        let played = play(&left, side_by_side, &format!("accuracy-{turn}.p502"))?;
        say(&lines(&played));
        let (again, settled): (Vec<_>, Vec<_>) = played.into_iter().partition(is_open);
        judged.extend(settled);
        let is_one = |cell: &Cell| {
            let same = |one: &Judged| (one.kind, &*one.fault) == (cell.kind, cell.fault.name);
            again.iter().any(same)
        };
        left.retain(is_one);
        open = again;
        if left.is_empty() {
            break;
        }
    }
    judged.extend(open);
    say(&page::totals(&judged));
    let complaints = complaints(&judged);
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
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

fn lines(judged: &[Judged]) -> String {
    let lines: Vec<String> = judged.iter().map(page::line).collect();
    lines.join("\n")
}
