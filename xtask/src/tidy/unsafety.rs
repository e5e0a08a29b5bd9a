//! Where `unsafe` may stand, and that each says why it is sound.

use super::Finding;
use super::tokens::tokens;
use super::tree::{File, Tree};

/// Files outside ebpf/ that were audited. Each needs a reason in its commit.
const AUDITED: &[&str] = &[];

pub fn unsafe_stays_in_ebpf(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let others = tree.rust().filter(|file| !file.is_in("ebpf"));
    for file in others.filter(|file| !AUDITED.contains(&file.path.as_str())) {
        for token in tokens(file).iter().filter(|token| token.text == "unsafe") {
            let advice = "unsafe outside ebpf/: use a safe crate, or move it to the kernel side";
            findings.push(Finding::new(&file.path, token.line, advice));
        }
    }
    findings
}

pub fn every_unsafe_says_why(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let tokens = tokens(file);
        for pair in tokens.windows(2) {
            let block = pair[0].text == "unsafe" && ["{", "impl"].contains(&pair[1].text.as_str());
            if block && !says_why(file, pair[0].line) {
                let advice = "write `// SAFETY:` and the reason above this unsafe";
                findings.push(Finding::new(&file.path, pair[0].line, advice));
            }
        }
    }
    findings
}

/// The comment stands right above the statement: upwards, lines of the same statement come first.
fn says_why(file: &File, line: usize) -> bool {
    let lines: Vec<&str> = file.text.lines().collect();
    if lines
        .get(line - 1)
        .is_some_and(|text| text.contains("SAFETY:"))
    {
        return true;
    }
    let mut in_comment = false;
    for text in lines[..line - 1].iter().rev().map(|text| text.trim()) {
        if text.starts_with("//") {
            in_comment = true;
            if text.contains("SAFETY:") {
                return true;
            }
        } else if in_comment || text.is_empty() || text.ends_with([';', '}']) {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_found_even_in_a_macro_and_not_in_a_string() {
        let text = "macro_rules! a { () => {\n unsafe { b() } } }\nconst A: &str = \"unsafe\";\n";
        let tree = Tree::made_up(&[("agent/src/a.rs", text), ("ebpf/src/b.rs", text)]);
        let found = unsafe_stays_in_ebpf(&tree);
        assert_eq!((found.len(), found[0].line), (1, 2));
    }

    #[test]
    fn a_reason_counts_above_the_statement_only() {
        let good = "fn a() {\n    // SAFETY: it is so.\n    let x =\n        unsafe { b() };\n}\n";
        let bad = "fn a() {\n    // SAFETY: it is so.\n    c();\n    unsafe { b() }\n}\n";
        let tree = Tree::made_up(&[("ebpf/good.rs", good), ("ebpf/bad.rs", bad)]);
        let found = every_unsafe_says_why(&tree);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].line), ("ebpf/bad.rs", 4));
    }
}
