//! A cause is an id, a page, a scenario that ends in it, and a row that gives it.

use super::Finding;
use super::tokens::{test_lines, tokens};
use super::tree::{File, Tree};

const CATALOGUE: &str = "agent/core/src/cause.rs";
const JUDGE: &str = "agent/core/src/diagnose";
const PAGES: &str = "docs/causes";
const SCENARIOS: &str = "tests/scenarios";
const REAL: [&str; 2] = ["tests/tests", "tests/src"];

pub fn every_cause_is_complete(tree: &Tree) -> Vec<Finding> {
    let causes = causes(tree);
    let judged = judged(tree);
    let mut findings = Vec::new();
    if causes.is_empty() {
        findings.push(Finding::new(
            CATALOGUE,
            1,
            "no line `Name = \"id\",` found in the catalogue",
        ));
    }
    for Cause { name, id, line } in &causes {
        let mut miss = |advice: String| findings.push(Finding::new(CATALOGUE, *line, advice));
        if tree.at(&format!("{PAGES}/{id}.md")).is_none() {
            miss(format!("{id} has no page: write {PAGES}/{id}.md"));
        }
        let mut told = tree.files().filter(|file| file.is_in(SCENARIOS));
        if !told.any(|file| tells_of(&file, id, &causes)) {
            miss(format!(
                "{id} has no scenario: write {SCENARIOS}/{id}.txt that expects it"
            ));
        }
        if !judged.contains(name) {
            miss(format!("no row gives Cause::{name}: add it to {JUDGE}.rs"));
        }
    }
    findings
}

pub fn every_cause_is_made(tree: &Tree) -> Vec<Finding> {
    let tests: Vec<&File> = tree
        .files()
        .filter(|file| REAL.iter().any(|folder| file.is_in(folder)))
        .collect();
    let is_made = |id: &str| {
        let quoted = format!("\"{id}\"");
        tests.iter().any(|file| file.text.contains(&quoted))
    };
    let unmade = causes(tree).into_iter();
    unmade
        .filter(|cause| !is_made(&cause.id))
        .map(|Cause { id, line, .. }| {
            let advice = format!(
                "no test of {} breaks an upstream into {id}: write one",
                REAL[0]
            );
            Finding::new(CATALOGUE, line, advice)
        })
        .collect()
}

pub fn every_page_belongs(tree: &Tree) -> Vec<Finding> {
    let causes = causes(tree);
    let pages = tree
        .files()
        .filter(|file| file.is_in(PAGES) && file.stem() != "README");
    let strays = pages.filter(|page| causes.iter().all(|cause| cause.id != page.stem()));
    let advice = "no cause has this id: correct the file's name, or remove the page";
    strays
        .map(|page| Finding::new(&page.path, 1, advice))
        .collect()
}

struct Cause {
    name: String,
    id: String,
    line: usize,
}

fn causes(tree: &Tree) -> Vec<Cause> {
    let Some(catalogue) = tree.at(CATALOGUE) else {
        return Vec::new();
    };
    let lines = catalogue.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| cause(line, index + 1))
        .collect()
}

/// `OomCgroup = "process.oom.cgroup",`
fn cause(text: &str, line: usize) -> Option<Cause> {
    let (name, id) = text.trim().strip_suffix("\",")?.split_once(" = \"")?;
    let is_name = name.chars().all(char::is_alphanumeric) && name.starts_with(char::is_uppercase);
    (is_name && id.contains('.')).then(|| Cause {
        name: name.into(),
        id: id.into(),
        line,
    })
}

/// The file is this cause's by its name, and its expected verdicts, below `----`, have the id.
fn tells_of(file: &&File, id: &str, causes: &[Cause]) -> bool {
    let own = causes
        .iter()
        .filter(|cause| file.stem().starts_with(&cause.id));
    let longest = own.max_by_key(|cause| cause.id.len());
    let expected = file
        .text
        .split_once("\n----")
        .map_or("", |(_, expected)| expected);
    longest.is_some_and(|cause| cause.id == id)
        && expected.split_whitespace().any(|word| word == id)
}

/// The words of the judging code without its tests.
fn judged(tree: &Tree) -> Vec<String> {
    let judges = tree
        .rust()
        .filter(|file| file.path == format!("{JUDGE}.rs") || file.is_in(JUDGE));
    let mut words = Vec::new();
    for file in judges {
        let tests = test_lines(file);
        let in_test = |line| {
            tests
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&line))
        };
        words.extend(
            tokens(file)
                .into_iter()
                .filter(|t| !in_test(t.line))
                .map(|t| t.text),
        );
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: &str =
        "    Closed = \"listener.closed\",\n    Queued = \"listener.closed-queued\",\n";
    const ROWS: &str = "fn a() { (Cause::Closed, Cause::Queued) }\n";

    fn complete() -> Vec<(&'static str, &'static str)> {
        vec![
            (CATALOGUE, IDS),
            ("agent/core/src/diagnose.rs", ROWS),
            ("docs/causes/listener.closed.md", "page"),
            ("docs/causes/listener.closed-queued.md", "page"),
            (
                "tests/scenarios/listener.closed.txt",
                "1 a\n----\n502 refused listener.closed proven\n",
            ),
            (
                "tests/scenarios/listener.closed-queued-2.txt",
                "\n----\n502 reset listener.closed-queued proven\n",
            ),
        ]
    }

    fn without(path: &str) -> Vec<Finding> {
        let files: Vec<_> = complete()
            .into_iter()
            .filter(|file| file.0 != path)
            .collect();
        every_cause_is_complete(&Tree::made_up(&files))
    }

    #[test]
    fn a_complete_catalogue_is_in_order() {
        assert_eq!(without("nothing"), []);
    }

    #[test]
    fn a_missing_page_scenario_or_row_is_named_at_the_cause() {
        assert_eq!(without("docs/causes/listener.closed.md")[0].line, 1);
        let found = without("tests/scenarios/listener.closed.txt");
        assert_eq!(
            (found.len(), found[0].line),
            (1, 1),
            "the longer id's story is not the shorter's"
        );
        assert_eq!(
            without("tests/scenarios/listener.closed-queued-2.txt")[0].line,
            2
        );
        assert_eq!(without("agent/core/src/diagnose.rs").len(), 2);
    }

    #[test]
    fn a_cause_that_no_test_makes_is_named() {
        let ids = "    A = \"app.a\",\n    AB = \"app.a-b\",\n";
        let found = |test| {
            let tests = "tests/src/accuracy/faults/app.rs";
            every_cause_is_made(&Tree::made_up(&[(CATALOGUE, ids), (tests, test)]))
        };
        assert_eq!(found("(\"app.a\", \"app.a-b\")"), []);
        let missing = found("(\"app.a-b\")");
        assert_eq!((missing.len(), missing[0].line), (1, 1));
    }

    #[test]
    fn a_row_in_a_test_is_no_row() {
        let mut files = complete();
        files[1].1 = "#[cfg(test)]\nmod tests { fn a() { (Cause::Closed, Cause::Queued) } }\n";
        assert_eq!(every_cause_is_complete(&Tree::made_up(&files)).len(), 2);
    }

    #[test]
    fn a_page_of_no_cause_is_found() {
        let mut files = complete();
        files.push(("docs/causes/listener.gone.md", "page"));
        assert_eq!(every_page_belongs(&Tree::made_up(&files)).len(), 1);
    }
}
