//! Files and functions that one can hold in one's head, opened by a sentence.

use syn::spanned::Spanned;
use syn::visit::Visit;

use super::Finding;
use super::tree::Tree;

const FILE: usize = 400;
const FUNCTION: usize = 60;

pub fn files_open_with_their_purpose(tree: &Tree) -> Vec<Finding> {
    let silent = tree.rust().filter(|file| !file.text.starts_with("//! "));
    let advice = "begin the file with `//! ` and one sentence of purpose";
    silent
        .map(|file| Finding::new(&file.path, 1, advice))
        .collect()
}

pub fn files_fit(tree: &Tree) -> Vec<Finding> {
    let code = tree.files().filter(|file| {
        [".rs", ".py", ".sh"]
            .iter()
            .any(|extension| file.path.ends_with(extension))
    });
    let sized = code.map(|file| (file, file.text.lines().count()));
    let large = sized.filter(|(_, lines)| *lines > FILE);
    large
        .map(|(file, lines)| {
            let advice = format!("{lines} lines, {FILE} are the most: look for the second noun");
            Finding::new(&file.path, FILE + 1, advice)
        })
        .collect()
}

pub fn functions_fit(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let parsed = match syn::parse_file(&file.text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let line = error.span().start().line;
                findings.push(Finding::new(
                    &file.path,
                    line,
                    format!("is no Rust: {error}"),
                ));
                continue;
            }
        };
        let mut functions = Functions(Vec::new());
        functions.visit_file(&parsed);
        for (name, first, last) in functions.0 {
            let lines = last + 1 - first;
            if lines > FUNCTION {
                let advice =
                    format!("`{name}` has {lines} lines, {FUNCTION} are the most: split it");
                findings.push(Finding::new(&file.path, first, advice));
            }
        }
    }
    findings
}

struct Functions(Vec<(String, usize, usize)>);

impl Functions {
    fn push(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let (first, last) = (signature.span().start().line, body.span().end().line);
        self.0.push((signature.ident.to_string(), first, last));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.push(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.push(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.push(&function.sig, body);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Tree {
        Tree::made_up(&[("a.rs", text)])
    }

    #[test]
    fn a_file_without_a_purpose_is_found() {
        assert_eq!(files_open_with_their_purpose(&one("fn a() {}\n")).len(), 1);
        assert!(files_open_with_their_purpose(&one("//! What a does.\n")).is_empty());
    }

    #[test]
    fn four_hundred_lines_fit_and_one_more_does_not() {
        assert!(files_fit(&one(&"\n".repeat(400))).is_empty());
        assert_eq!(files_fit(&one(&"\n".repeat(401))).len(), 1);
    }

    #[test]
    fn sixty_lines_fit_in_a_function_and_one_more_does_not() {
        let function = |lines: usize| {
            format!(
                "struct A;\nimpl A {{\nfn a() {{\n{}}}\n}}\n",
                "\n".repeat(lines)
            )
        };
        assert!(functions_fit(&one(&function(58))).is_empty());
        let found = functions_fit(&one(&function(59)));
        assert_eq!((found.len(), found[0].line), (1, 3));
    }
}
