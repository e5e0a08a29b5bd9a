//! The matrix as a page, and as a line for each cell.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::faults;
use super::judge::{Judged, Mark};
use super::kept::Played;
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

/// Why nothing can be claimed in this cell, if so.
#[must_use]
pub fn why_unknown(cell: &Judged) -> Option<&'static str> {
    let fault = faults::all().find(|fault| fault.name == cell.fault);
    fault.and_then(|fault| fault.why_unknown(cell.kind))
}

/// How many cells have each mark.
#[must_use]
pub fn totals(cells: &[Judged]) -> String {
    let counted = Mark::ALL.map(|mark| format!("{} {}", count(cells, mark), mark.name()));
    let failed = cells.iter().filter(|cell| cell.mark.counts()).count();
    let (count, counted) = (cells.len(), counted.join(", "));
    format!("{count} cells, {failed} failed answers: {counted}")
}

fn count(cells: &[Judged], mark: Mark) -> usize {
    cells.iter().filter(|cell| cell.mark == mark).count()
}

/// The whole page.
#[must_use]
pub fn page(plays: &[Played]) -> String {
    let cells: Vec<&Judged> = plays.iter().flat_map(|play| &play.cells).collect();
    let mut page = HEAD.to_owned();
    page += &by_seed(plays);
    page += &latencies(&cells);
    page += &by_gateway(&cells, plays);
    page += &not_played(plays);
    page += "\n## Wrong, missed or too much\n\n";
    page += &not_right(plays, |cell| cell.mark.is_bad());
    page += "\n## Unknown, and why\n\n";
    page += &not_right(plays, |cell| cell.mark == Mark::Unknown);
    page += &by_now_right(&cells);
    page += REPRODUCE;
    for kind in kinds(plays) {
        page += &table(plays, kind);
    }
    page += &sets();
    page
}

fn kinds(plays: &[Played]) -> Vec<Kind> {
    let met = |kind: &Kind| plays.iter().any(|play| play.versions.contains_key(kind));
    Kind::ALL.into_iter().filter(met).collect()
}

const HEAD: &str = "# How often it is right

Written by `cargo xtask accuracy`: every fault behind every gateway that can meet it. The upstreams are
real and really break, with ports, delays, sizes and an order of chance, drawn from a seed. One probe502
watches the host for statuses 500, 502, 503 and 504 from before the first gateway starts; a gateway meets
its faults one after the other, and several gateways do so side by side.

*right*: one verdict, its cause, symptom and status as they must be. *unknown*: it claims nothing.
*wrong*: it claims something else. *missed*: a failed answer has no verdict. *spurious*: a verdict too
many. *hidden*: the gateway tried again, or passed on what came, and the client got a good answer;
*silent*: it closed without an answer: no failed answer, so nothing may be said. *broken*: the fault
could not be made. *load*: how many tasks wanted a processor at the end of a play (`/proc/loadavg`, five
minutes); a machine with two that is wanted by twenty starts some upstreams too late to break them.

Not here: names that do not resolve, for most of these gateways look them up as they start
(tests/tests/names.rs has them behind nginx), and bodies that break off, which have no status of their
own and need `--silent` (tests/tests/truncated.rs, behind each gateway).

";

const REPRODUCE: &str = "
## How to measure it again

`cargo xtask accuracy --seed 502,503,504` plays all of it and writes this page; `--gateway NAME`,
`--fault WORD` and `--cell GATEWAY/FAULT` play a part and write none. What each cell's verdict said
is left in `target/accuracy/SEED.jsonl`, and all that the agent heard in `target/accuracy/SEED.p502`, for
`probe502 replay`.
";

fn by_seed(plays: &[Played]) -> String {
    let heads = Mark::ALL.map(Mark::name).join(" | ");
    let mut table = format!(
        "| seed | commit | kernel | load | minutes | cells | failed answers | {heads} |\n|---:|---|---|{}\n",
        "---:|".repeat(4 + Mark::ALL.len())
    );
    for play in plays {
        let failed = play.cells.iter().filter(|cell| cell.mark.counts()).count();
        let marks = Mark::ALL.map(|mark| count(&play.cells, mark).to_string());
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {failed} | {} |",
            play.seed,
            play.commit,
            play.kernel,
            play.load,
            play.took.as_secs().div_ceil(60),
            play.cells.len(),
            marks.join(" | ")
        );
    }
    table + "\n"
}

fn latencies(cells: &[&Judged]) -> String {
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

fn by_gateway(cells: &[&Judged], plays: &[Played]) -> String {
    let heads = Mark::ALL.map(Mark::name);
    let mut table = format!(
        "| gateway | {} | proven | inferred | joined by |\n|---|{}---:|---:|---|\n",
        heads.join(" | "),
        "---:|".repeat(heads.len())
    );
    for kind in kinds(plays) {
        let own = || cells.iter().filter(|cell| cell.kind == kind);
        let version = plays.iter().find_map(|play| play.versions.get(&kind));
        let marks = Mark::ALL.map(|mark| own().filter(|cell| cell.mark == mark).count());
        let sure = |word: &str| {
            own()
                .filter(|cell| cell.field("/confidence") == word)
                .count()
        };
        let mut joins: BTreeMap<&str, usize> = BTreeMap::new();
        for cell in own().filter(|cell| !cell.verdict.is_null()) {
            *joins.entry(cell.field("/joined_by")).or_default() += 1;
        }
        let joins = joins.iter().map(|(by, count)| format!("{by} {count}"));
        let _ = writeln!(
            table,
            "| [{name}](#{name}) {} | {} | {} | {} | {} |",
            version.map_or("", String::as_str),
            marks.map(|count| count.to_string()).join(" | "),
            sure("proven"),
            sure("inferred"),
            joins.collect::<Vec<_>>().join(", "),
            name = kind.name(),
        );
    }
    table
}

fn not_played(plays: &[Played]) -> String {
    let played = kinds(plays);
    let others = Kind::ALL.into_iter().filter(|kind| !played.contains(kind));
    let names: Vec<&str> = others.map(Kind::name).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("\n**Not played here: {}.**\n", names.join(", "))
}

/// Each such cell once, with the seeds in which it was so.
fn not_right(plays: &[Played], fits: impl Fn(&Judged) -> bool) -> String {
    let mut found: BTreeMap<(Kind, String, String), Vec<String>> = BTreeMap::new();
    for play in plays {
        for cell in play.cells.iter().filter(|cell| fits(cell)) {
            let said = format!(
                "{}, {} ({}); expected {}",
                cell.mark.name(),
                or_nothing(cell.field("/cause")),
                or_nothing(cell.field("/symptom")),
                cell.note
            );
            let why = match why_unknown(cell) {
                Some(why) if cell.mark == Mark::Unknown => format!(". {why}"),
                _ if cell.mark == Mark::Unknown => ". **Not explained yet**".to_owned(),
                _ => String::new(),
            };
            let key = (cell.kind, cell.fault.clone(), format!("{said}{why}."));
            found.entry(key).or_default().push(play.seed.to_string());
        }
    }
    if found.is_empty() {
        return "None.\n".to_owned();
    }
    let lines = found.iter().map(|((kind, fault, said), seeds)| {
        let seeds = seeds.join(", ");
        format!("- {} {fault} (seed {seeds}): {said}\n", kind.name())
    });
    lines.collect()
}

fn or_nothing(field: &str) -> &str {
    if field.is_empty() { "nothing" } else { field }
}

/// Where a reason is kept for what was right in every play.
fn by_now_right(cells: &[&Judged]) -> String {
    let mut list = String::new();
    for (kind, fault) in stale(cells) {
        let _ = writeln!(list, "- {} {fault}", kind.name());
    }
    if list.is_empty() {
        return list;
    }
    format!("\n## Explained as unknown, and right by now\n\n{list}")
}

/// The cells that have a reason to be unknown and are right wherever they were played.
#[must_use]
pub fn stale(cells: &[&Judged]) -> Vec<(Kind, &'static str)> {
    let mut stale = Vec::new();
    for fault in faults::all() {
        for (kind, _) in fault.unknown {
            let mut own = cells
                .iter()
                .filter(|cell| cell.kind == *kind && cell.fault == fault.name)
                .peekable();
            if own.peek().is_some() && own.all(|cell| cell.mark == Mark::Right) {
                stale.push((*kind, fault.name));
            }
        }
    }
    stale
}

/// A row for each fault, or as many as the seeds differ in.
fn table(plays: &[Played], kind: Kind) -> String {
    let mut table = format!(
        "\n## {}\n\n| fault | expected | | status | symptom | cause | confidence | joined by | ms |\n|---|---|---|---|---|---|---|---|---:|\n",
        kind.name()
    );
    for fault in faults::all().filter(|fault| (fault.meets)(kind)) {
        let mut rows: BTreeMap<String, (Vec<u64>, Vec<u128>)> = BTreeMap::new();
        for play in plays {
            let same = |cell: &&Judged| cell.kind == kind && cell.fault == fault.name;
            for cell in play.cells.iter().filter(same) {
                let row = rows.entry(said(cell)).or_default();
                row.0.push(play.seed);
                row.1
                    .extend(cell.latency.map(|latency| latency.as_millis()));
            }
        }
        let expected = fault.truth_behind(kind).causes.join(" or ");
        for (said, (seeds, times)) in &rows {
            let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
            let when = if rows.len() > 1 {
                format!(" ({})", seeds.join(", "))
            } else {
                String::new()
            };
            let times: Vec<String> = times.iter().map(u128::to_string).collect();
            let times = times.join(", ");
            let _ = writeln!(
                table,
                "| {}{when} | {expected} | {said} | {times} |",
                fault.name
            );
        }
    }
    table
}

fn said(cell: &Judged) -> String {
    let mark = if cell.mark == Mark::Right {
        cell.mark.name().to_owned()
    } else {
        format!("**{}**", cell.mark.name())
    };
    let fields = ["/symptom", "/cause", "/confidence", "/joined_by"];
    let fields = fields.map(|pointer| cell.field(pointer)).join(" | ");
    format!("{mark} | {} | {fields}", status(cell.status))
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
