//! Rust files as tokens: what a comment or a string says is no code.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::Visit;

use super::tree::File;

/// A token, its line, and whether a brace follows it.
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// Every token of a file in order, delimiters included; none where it is no Rust.
pub fn tokens(file: &File) -> Vec<Token> {
    let mut found = Vec::new();
    if let Ok(stream) = file.text.parse::<TokenStream>() {
        flatten(stream, &mut found);
    }
    found
}

fn flatten(stream: TokenStream, into: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                into.push(Token {
                    text: open.into(),
                    line,
                });
                flatten(group.stream(), into);
                into.push(Token {
                    text: close.into(),
                    line: group.span_close().start().line,
                });
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {
                into.push(Token {
                    text: tree.to_string(),
                    line,
                });
            }
        }
    }
}

/// First and last lines of what only tests see: items under `#[cfg(test)]` or `#[test]`.
pub fn test_lines(file: &File) -> Vec<(usize, usize)> {
    let mut tests = Tests(Vec::new());
    if let Ok(parsed) = syn::parse_file(&file.text) {
        tests.visit_file(&parsed);
    }
    if file.stem() == "tests" || file.path.contains("/tests/") {
        tests.0.push((1, usize::MAX));
    }
    tests.0
}

struct Tests(Vec<(usize, usize)>);

impl<'ast> Visit<'ast> for Tests {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        use syn::spanned::Spanned;
        if attributes(item).iter().any(is_test) {
            self.0
                .push((item.span().start().line, item.span().end().line));
        } else {
            syn::visit::visit_item(self, item);
        }
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    if let syn::Item::Mod(item) = item {
        &item.attrs
    } else if let syn::Item::Fn(item) = item {
        &item.attrs
    } else if let syn::Item::Impl(item) = item {
        &item.attrs
    } else {
        &[]
    }
}

fn is_test(attribute: &syn::Attribute) -> bool {
    let cfg_test = attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|what| what.is_ident("test"));
    cfg_test
        || attribute
            .path()
            .segments
            .last()
            .is_some_and(|last| last.ident == "test")
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let tree = Tree::made_up(&[("a.rs", "// unsafe\nfn a() { \"unsafe\"; safe() }\n")]);
        let words: Vec<_> = tokens(tree.at("a.rs").unwrap())
            .into_iter()
            .map(|t| t.text)
            .collect();
        assert!(!words.contains(&"unsafe".to_owned()) && words.contains(&"safe".to_owned()));
    }

    #[test]
    fn a_test_module_is_known_by_its_lines() {
        let tree = Tree::made_up(&[("a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n")]);
        assert_eq!(test_lines(tree.at("a.rs").unwrap()), [(2, 4)]);
    }
}
