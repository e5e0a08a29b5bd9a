//! A part of the matrix: every fault once, behind one of ten gateways or another.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use probe502_tests::accuracy::run::Play;
use probe502_tests::accuracy::{Cell, page, sample};
use probe502_tests::gateways::Kind;
use probe502_tests::skip::{say, skip, unable};

/// Nothing wrong, nothing missed, nothing too much.
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
    let kept = std::env::var_os("PROBE502_KEEP").map(PathBuf::from);
    let record = kept.map(|dir| dir.join("accuracy.p502"));
    let play = Play {
        cells: &cells,
        seed: 502,
        side_by_side: 3,
        record: record.as_deref(),
    };
    let judged = play.all(&|_| ())?;
    let lines: Vec<String> = judged.iter().map(page::line).collect();
    say(&lines.join("\n"));
    let bad = judged.iter().filter(|cell| cell.mark.is_bad());
    let bad: Vec<String> = bad
        .map(|cell| format!("{}\n{:#}", page::line(cell), cell.verdict))
        .collect();
    ensure!(bad.is_empty(), "{}", bad.join("\n"));
    Ok(())
}
