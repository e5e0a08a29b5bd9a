//! `docs/kernels.md`: which kernel has which hook, and what was said of each fault there.

use std::fmt::Write as _;

use serde_json::Value;

use super::Run;

const HEAD: &str = "# Kernels\n\nWritten by `cargo xtask vm`: Debian's kernels under QEMU, the agent, \
Debian's nginx and the tests' upstreams. A verdict may be weaker on an older kernel; it is \
never wrong. The guests have no `/dev/kmsg`, as pods have none: a hook stands in for it. The agent is \
asked for what `--silent` needs, too.\n";

/// The whole page.
pub fn page(runs: &[Run]) -> String {
    let mut text = HEAD.to_owned();
    text.push_str(
        "\n## Hooks\n\n`ok`: at work. `-`: this kernel lacks it. `(call)`: attached only \
while a gateway gives reason. `(twin)`: another hook sees the same.\n\n",
    );
    text.push_str(&table(runs, "hook", &hooks(runs), |run, name| {
        hook(run, name)
    }));
    text.push_str(
        "\n## Faults behind nginx\n\nThe cause that was said, with its confidence; in bold \
what was not the fault's.\n\n",
    );
    text.push_str(&table(runs, "fault", &faults(runs), |run, name| {
        fault(run, name)
    }));
    text
}

fn table(runs: &[Run], first: &str, rows: &[String], cell: fn(&Run, &str) -> String) -> String {
    let mut text = format!("| {first} |");
    for run in runs {
        let _ = write!(text, " {} |", run.release);
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(runs.len()));
    for row in rows {
        let _ = write!(text, "| {row} |");
        for run in runs {
            let _ = write!(text, " {} |", cell(run, row));
        }
        text.push('\n');
    }
    text
}

fn hooks(runs: &[Run]) -> Vec<String> {
    names(runs, |run| run.doctor["hooks"].as_array().cloned(), "name")
}

fn faults(runs: &[Run]) -> Vec<String> {
    names(runs, |run| Some(run.cells.clone()), "fault")
}

/// The names that any of them has, in the order of who has them first.
fn names(runs: &[Run], of: fn(&Run) -> Option<Vec<Value>>, key: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for value in runs.iter().filter_map(of).flatten() {
        let name = value[key].as_str().unwrap_or_default().to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn hook(run: &Run, name: &str) -> String {
    let all = run.doctor["hooks"].as_array();
    let found = all.and_then(|all| all.iter().find(|hook| hook["name"] == name));
    match found.and_then(|hook| hook["state"].as_str()) {
        Some("ok") => "ok".to_owned(),
        Some("on-call") => "(call)".to_owned(),
        Some("not-needed") => "(twin)".to_owned(),
        Some(_) => "-".to_owned(),
        None => "refused".to_owned(),
    }
}

fn fault(run: &Run, name: &str) -> String {
    let Some(cell) = run.cells.iter().find(|cell| cell["fault"] == name) else {
        return "-".to_owned();
    };
    let said = |key: &str| cell["verdict"][key].as_str().unwrap_or("-").to_owned();
    let words = format!("{}, {}", said("cause"), said("confidence"));
    if cell["mark"] == "right" {
        words
    } else {
        format!("**{words}**")
    }
}

/// For the terminal.
pub fn summary(run: &Run) -> String {
    let mut text = format!("{}: doctor ended with {}", run.kernel.name, run.status);
    if let Some(reason) = run.doctor["reason"].as_str() {
        let _ = write!(text, ": {reason}");
    }
    text.push('\n');
    for cell in &run.cells {
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let verdict = &cell["verdict"];
        let (mark, fault) = (word(&cell["mark"]), word(&cell["fault"]));
        let (cause, sure) = (word(&verdict["cause"]), word(&verdict["confidence"]));
        let note = word(&cell["note"]);
        let _ = writeln!(text, "{mark:<9}{fault:<30}{cause:<30}{sure:<9}{note}");
    }
    text
}
