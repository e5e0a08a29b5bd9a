//! The matrix as a page, and as a line for each cell.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::faults;
use super::judge::{Judged, Mark};
use crate::gateways::Kind;

/// One cell as a line of text.
#[must_use]
pub fn line(judged: &Judged) -> String {
    let latency = judged.latency.map_or_else(
        || "-".to_owned(),
        |latency| format!("{} ms", latency.as_millis()),
    );
    format!(
        "{:<8} {:<15} {:<32} {:<4} {:>8}  {:<15} {:<28} {:<9} {:<13} {}",
        judged.mark.name(),
        judged.kind.name(),
        judged.fault,
        status(judged.status),
        latency,
        judged.field("/symptom"),
        judged.field("/cause"),
        judged.field("/confidence"),
        judged.field("/joined_by"),
        if judged.mark == Mark::Right {
            ""
        } else {
            &judged.note
        },
    )
}

fn status(status: Option<u16>) -> String {
    status.map_or_else(|| "-".to_owned(), |status| status.to_string())
}

/// How many cells have each mark.
#[must_use]
pub fn totals(cells: &[Judged]) -> String {
    let count = |mark: Mark| cells.iter().filter(|cell| cell.mark == mark).count();
    let counted = Mark::ALL.map(|mark| format!("{} {}", count(mark), mark.name()));
    let alone = cells.iter().filter_map(|cell| cell.alone.as_ref());
    let right = alone.filter(|cell| cell.mark == Mark::Right).count();
    let (count, counted) = (cells.len(), counted.join(", "));
    format!(
        "{count} cells: {counted}; {right} of the unknown are right when nothing else fails at that moment"
    )
}

/// The whole page.
#[must_use]
pub fn page(cells: &[Judged], seeds: &[u64], versions: &BTreeMap<Kind, String>) -> String {
    let kinds: Vec<Kind> = versions.keys().copied().collect();
    let mut page = HEAD.to_owned();
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    let _ = writeln!(page, "Seeds: {}. {}.\n", seeds.join(", "), totals(cells));
    page += &latencies(cells);
    page += &by_gateway(cells, versions);
    page += "\n## Every cell\n\n";
    let names = kinds.iter().map(|kind| kind.name());
    let _ = writeln!(
        page,
        "| fault | {} |",
        names.collect::<Vec<_>>().join(" | ")
    );
    let _ = writeln!(page, "|---|{}", "---|".repeat(kinds.len()));
    for fault in faults::all() {
        let row = kinds.iter().map(|kind| cell(cells, *kind, fault.name));
        let _ = writeln!(
            page,
            "| {} | {} |",
            fault.name,
            row.collect::<Vec<_>>().join(" | ")
        );
    }
    page += &not_right(cells);
    page += &sets();
    page
}

const HEAD: &str = "# How often it is right

Written by `cargo xtask accuracy`: real faults behind real gateways, each made from a seed with ports,
delays and sizes of chance, a dozen at a time behind one gateway; what a client saw of each, and what
probe502 said of it. Statuses 500, 502, 503 and 504 are watched.

What was *unknown* in such company is played again with nothing else failing at that moment: *alone*.

*right*: one verdict, its cause, symptom and status as they must be. *unknown*: it claims nothing.
*wrong*: it claims something else. *missed*: a failed answer has no verdict. *spurious*: a verdict too
many. *hidden*: the gateway tried again and the client got a good answer; *silent*: it closed without
an answer: no failed answer, so nothing may be said. *broken*: the fault could not be made.

";

fn latencies(cells: &[Judged]) -> String {
    let mut all: Vec<Duration> = cells.iter().filter_map(|cell| cell.latency).collect();
    all.sort_unstable();
    let at = |share: usize| {
        let index = (all.len() * share / 100).min(all.len().saturating_sub(1));
        all.get(index).map_or(0, Duration::as_millis)
    };
    format!(
        "From the client's status line to the verdict: half within {} ms, 90 % within {} ms, 99 % within {} ms.\n\n",
        at(50),
        at(90),
        at(99)
    )
}

fn by_gateway(cells: &[Judged], versions: &BTreeMap<Kind, String>) -> String {
    let heads = Mark::ALL.map(Mark::name);
    let mut table = format!(
        "| gateway | {} | proven | inferred | joined by |\n|---|{}---|---|---|\n",
        heads.join(" | "),
        "---:|".repeat(heads.len())
    );
    for (kind, version) in versions {
        let own: Vec<&Judged> = cells.iter().filter(|cell| cell.kind == *kind).collect();
        let count = |mark: Mark| own.iter().filter(|cell| cell.mark == mark).count();
        let marks = Mark::ALL.map(|mark| count(mark).to_string());
        let sure = |word: &str| {
            own.iter()
                .filter(|cell| cell.field("/confidence") == word)
                .count()
        };
        let mut joins: BTreeMap<&str, usize> = BTreeMap::new();
        for cell in own.iter().filter(|cell| cell.seen.is_some()) {
            *joins.entry(cell.field("/joined_by")).or_default() += 1;
        }
        let joins: Vec<String> = joins
            .iter()
            .map(|(by, count)| format!("{by} {count}"))
            .collect();
        let _ = writeln!(
            table,
            "| {} {version} | {} | {} | {} | {} |",
            kind.name(),
            marks.join(" | "),
            sure("proven"),
            sure("inferred"),
            joins.join(", ")
        );
    }
    table
}

/// One word, or one for each seed where they differ.
fn cell(cells: &[Judged], kind: Kind, fault: &str) -> String {
    let own = cells
        .iter()
        .filter(|cell| cell.kind == kind && cell.fault == fault);
    let mut words: Vec<String> = own
        .map(|cell| {
            let said = if cell.mark == Mark::Right {
                cell.field("/confidence").to_owned()
            } else {
                format!("**{}**", cell.mark.name()) + &alone(cell)
            };
            format!("{} {said}", status(cell.status))
        })
        .collect();
    words.sort();
    words.dedup();
    words.join(", ")
}

fn alone(cell: &Judged) -> String {
    cell.alone.as_ref().map_or_else(String::new, |alone| {
        let said = if alone.mark == Mark::Right {
            alone.field("/confidence")
        } else {
            alone.mark.name()
        };
        format!(" (alone: {said})")
    })
}

fn not_right(cells: &[Judged]) -> String {
    let mut list = "\n## What was not right\n\n".to_owned();
    for cell in cells
        .iter()
        .filter(|cell| cell.mark.is_bad() || cell.mark == Mark::Unknown)
    {
        let _ = writeln!(
            list,
            "- {} {}: {}{}: {} {} {}; expected {}",
            cell.kind.name(),
            cell.fault,
            cell.mark.name(),
            alone(cell),
            cell.field("/symptom"),
            cell.field("/cause"),
            cell.field("/confidence"),
            cell.note
        );
    }
    list
}

/// Where the programs race with themselves.
fn sets() -> String {
    let mut list = "\n## Where more than one cause is right\n\n".to_owned();
    for fault in faults::all() {
        for truth in std::iter::once(&fault.truth).chain(fault.but.iter().map(|(_, truth)| truth)) {
            if truth.causes.len() > 1 {
                let causes = truth.causes.join(" or ");
                let _ = writeln!(list, "- {}: {causes}: {}", fault.name, truth.because);
            }
        }
    }
    list
}
