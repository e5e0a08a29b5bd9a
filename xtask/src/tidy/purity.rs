//! The core reads no clock, no file, no socket and no environment.

use syn::visit::Visit;

use super::Finding;
use super::tree::Tree;

const IMPURE: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "tokio",
    "aya",
];

pub fn the_core_is_pure(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| file.is_in("agent/core/src")) {
        let Ok(parsed) = syn::parse_file(&file.text) else {
            continue;
        };
        let mut paths = Paths(Vec::new());
        paths.visit_file(&parsed);
        for (path, line) in paths.0 {
            if IMPURE.iter().any(|impure| begins(&path, impure)) {
                let advice = format!("{path} in the core: let the edge ask and send an event");
                findings.push(Finding::new(&file.path, line, advice));
            }
        }
    }
    findings
}

/// `std::fs::File` begins with `std::fs`; a `std::*` begins with everything in it.
fn begins(path: &str, impure: &str) -> bool {
    let below = |longer: &str, shorter: &str| {
        longer
            .strip_prefix(shorter)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    below(path, impure)
        || path
            .strip_suffix("::*")
            .is_some_and(|above| below(impure, above))
}

struct Paths(Vec<(String, usize)>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<_> = path
            .segments
            .iter()
            .map(|part| part.ident.to_string())
            .collect();
        if let Some(first) = path.segments.first() {
            self.0
                .push((words.join("::"), first.ident.span().start().line));
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.flatten(&item.tree, "");
    }
}

impl Paths {
    fn flatten(&mut self, tree: &syn::UseTree, above: &str) {
        let join = |name: &syn::Ident| match above {
            "" => name.to_string(),
            above => format!("{above}::{name}"),
        };
        match tree {
            syn::UseTree::Path(path) => self.flatten(&path.tree, &join(&path.ident)),
            syn::UseTree::Name(name) => self.push(join(&name.ident), name.ident.span()),
            syn::UseTree::Rename(name) => self.push(join(&name.ident), name.ident.span()),
            syn::UseTree::Glob(glob) => {
                self.push(format!("{above}::*"), glob.star_token.spans[0]);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.flatten(tree, above);
                }
            }
        }
    }

    fn push(&mut self, path: String, span: proc_macro2::Span) {
        self.0.push((path, span.start().line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let tree = Tree::made_up(&[("agent/core/src/a.rs", text)]);
        the_core_is_pure(&tree)
            .iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn clocks_files_and_sockets_are_found_however_they_are_imported() {
        assert_eq!(
            lines("use std::{time::{Duration,\nInstant}, fs};\n"),
            [2, 2]
        );
        assert_eq!(
            lines("fn a() {\n std::net::TcpStream::connect(1);\n}\n"),
            [2]
        );
        assert_eq!(lines("use std::time::*;\n"), [1]);
    }

    #[test]
    fn addresses_and_durations_are_pure() {
        assert!(lines("use std::net::SocketAddr;\nuse std::time::Duration;\n").is_empty());
    }
}
