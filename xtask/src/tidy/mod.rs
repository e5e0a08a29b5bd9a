//! `cargo xtask tidy`: the house rules as code, each a small function over a tree of files.

mod boundaries;
mod causes;
mod leftovers;
mod object;
mod purity;
mod sizes;
mod tokens;
mod tree;
mod unsafety;
mod unwraps;

use std::process::ExitCode;

use anyhow::Result;

use crate::repository;
use tree::Tree;

/// One thing to repair.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    path: String,
    line: usize,
    advice: String,
}

impl Finding {
    fn new(path: impl Into<String>, line: usize, advice: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line,
            advice: advice.into(),
        }
    }
}

type Rule = (&'static str, fn(&Tree) -> Vec<Finding>);

const RULES: &[Rule] = &[
    (
        "dependencies point inwards",
        boundaries::dependencies_point_inwards,
    ),
    ("the core is pure", purity::the_core_is_pure),
    (
        "unsafe stays in the kernel programs",
        unsafety::unsafe_stays_in_ebpf,
    ),
    (
        "every unsafe block says why",
        unsafety::every_unsafe_says_why,
    ),
    (
        "files open with their purpose",
        sizes::files_open_with_their_purpose,
    ),
    ("files fit", sizes::files_fit),
    ("functions fit", sizes::functions_fit),
    ("every cause is complete", causes::every_cause_is_complete),
    ("every cause is made for real", causes::every_cause_is_made),
    ("every page belongs to a cause", causes::every_page_belongs),
    ("nothing is unfinished", leftovers::nothing_is_unfinished),
    (
        "nothing names a machine",
        leftovers::nothing_names_a_machine,
    ),
    ("no unwrap outside tests", unwraps::no_unwrap),
    (
        "the object is the recorded one",
        object::the_object_is_recorded,
    ),
];

pub fn run() -> Result<ExitCode> {
    let broken = check()?.broken;
    Ok(if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// How many rules hold, and which do not.
pub struct Checked {
    pub kept: usize,
    pub broken: Vec<&'static str>,
}

/// Checks every rule and prints what to repair, as file:line.
pub fn check() -> Result<Checked> {
    let tree = Tree::of_repository(&repository::root())?;
    let mut checked = Checked {
        kept: 0,
        broken: Vec::new(),
    };
    for (name, rule) in RULES {
        let mut findings = rule(&tree);
        findings.sort();
        findings.dedup();
        if findings.is_empty() {
            checked.kept += 1;
            continue;
        }
        checked.broken.push(name);
        println!("tidy: {name}: broken");
        for Finding { path, line, advice } in findings {
            println!("  {path}:{line}: {advice}");
        }
    }
    println!(
        "tidy: {} rules kept, {} broken",
        checked.kept,
        checked.broken.len()
    );
    Ok(checked)
}
