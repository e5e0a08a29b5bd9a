//! What must not be left behind: work put off, and traces of the machine it was done on.

use super::Finding;
use super::tree::{File, Tree};

/// In halves, so that this file does not find itself.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
];

const MACHINES: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/tmp/", "target"),
];

/// Words of a private registry's settings or address.
const REGISTRIES: &[&str] = &[
    concat!("artifac", "tory"),
    concat!("dev", "pi"),
    concat!("ne", "xus"),
    concat!("index", "-url"),
    concat!("replace", "-with"),
];

const PUBLIC_REGISTRY: &str = "\"registry+https://github.com/rust-lang/crates.io-index\"";

pub fn nothing_is_unfinished(tree: &Tree) -> Vec<Finding> {
    let advice = "finish it, or take it to an issue";
    tree.files()
        .filter(|file| file.is_text())
        .flat_map(|file| find(file, UNFINISHED, advice))
        .collect()
}

pub fn nothing_names_a_machine(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files() {
        findings.extend(find(
            file,
            MACHINES,
            "a path of one machine: write it relative, or ask for it",
        ));
        findings.extend(find(
            file,
            REGISTRIES,
            "a registry of one machine: packages come by default names",
        ));
        let lines = file.text.lines().enumerate();
        let foreign = lines.filter(|(_, line)| {
            line.starts_with("source = \"registry+") && !line.contains(PUBLIC_REGISTRY)
        });
        findings.extend(foreign.map(|(index, _)| {
            Finding::new(
                &file.path,
                index + 1,
                "not from crates.io: make the lock file without a mirror",
            )
        }));
    }
    findings
}

fn find(file: &File, words: &[&str], advice: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in words.iter().filter(|word| stands_alone(line, word)) {
            let place = if file.is_text() { index + 1 } else { 1 };
            findings.push(Finding::new(
                &file.path,
                place,
                format!("`{word}`: {advice}"),
            ));
        }
    }
    findings
}

/// `/x/` in `{rootfs}/x/` or `net/x/` is no path from the machine's root.
fn stands_alone(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.}$~/*".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_put_off_is_found_in_any_text() {
        let tree = Tree::made_up(&[
            ("docs/a.md", &format!("fine\n{} later\n", UNFINISHED[0])),
            ("Cargo.toml", "todo = \"deny\"\n"),
        ]);
        let found = nothing_is_unfinished(&tree);
        assert_eq!((found.len(), found[0].line), (1, 2));
    }

    #[test]
    fn paths_of_a_machine_are_found_even_in_an_object() {
        let tree = Tree::made_up(&[
            ("a.o", &format!("\0\0{}me/.cargo\0", MACHINES[1])),
            (
                "b.rs",
                &format!("\"/proc/1{0}x\" \"{{pid}}{0}x\"\n", MACHINES[1]),
            ),
        ]);
        let found = nothing_names_a_machine(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn a_lock_file_made_with_a_mirror_is_found() {
        let tree = Tree::made_up(&[(
            "Cargo.lock",
            &format!(
                "source = {PUBLIC_REGISTRY}\nsource = \"registry+https://example.org/index\"\n"
            ),
        )]);
        assert_eq!(nothing_names_a_machine(&tree)[0].line, 2);
    }
}
