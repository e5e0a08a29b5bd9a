//! Outside tests, no panic stands in for an error.

use super::Finding;
use super::tokens::{test_lines, tokens};
use super::tree::Tree;

const WHERE: &[&str] = &["agent/src", "agent/core/src", "common/src"];

pub fn no_unwrap(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree
        .rust()
        .filter(|file| WHERE.iter().any(|folder| file.is_in(folder)))
    {
        let tests = test_lines(file);
        let in_test = |line| {
            tests
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&line))
        };
        for words in tokens(file).windows(3) {
            let call = words[0].text == "." && words[1].text == "unwrap" && words[2].text == "(";
            if call && !in_test(words[1].line) {
                let advice = "unwrap: return the error, or decide what its absence means";
                findings.push(Finding::new(&file.path, words[1].line, advice));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwrap_is_for_tests() {
        let text = "fn a() {\n    println!(\"{}\", b().unwrap());\n}\n\
                    #[cfg(test)]\nmod tests {\n    fn c() { b().unwrap(); }\n}\n";
        let tree = Tree::made_up(&[("agent/src/a.rs", text), ("xtask/src/a.rs", text)]);
        let found = no_unwrap(&tree);
        assert_eq!((found.len(), found[0].line), (1, 2));
    }
}
