//! The files that the rules judge: git's, or made up by a test.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::read;

/// One file; its bytes as text, with replacement characters where they are none.
pub struct File {
    pub path: String,
    pub text: String,
    pub bytes: Vec<u8>,
}

impl File {
    /// Whether it lies in this folder or a folder below.
    pub fn is_in(&self, folder: &str) -> bool {
        self.path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Neither an object nor a picture.
    pub fn is_text(&self) -> bool {
        !self.bytes.contains(&0)
    }

    /// Its name without folders and the last extension.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }

    /// Number, from 1, of the first line that contains `words`; 1 where none does.
    pub fn line_of(&self, words: &str) -> usize {
        self.text
            .lines()
            .position(|line| line.contains(words))
            .map_or(1, |index| index + 1)
    }
}

/// Every file that is or could be committed.
pub struct Tree(Vec<File>);

impl Tree {
    /// What git tracks, and what it would if added: a rule should speak before the commit.
    pub fn of_repository(root: &Path) -> Result<Self> {
        let mut list = Command::new("git");
        list.args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(root);
        let list = read(&mut list).context("tidy asks git for the files")?;
        let mut files = Vec::new();
        for path in list.lines() {
            // A file that git lists and nobody has any more is being removed.
            if let Ok(bytes) = std::fs::read(root.join(path)) {
                files.push(Self::file(path, bytes));
            }
        }
        Ok(Self(files))
    }

    /// A tree for a test.
    #[cfg(test)]
    pub fn made_up(files: &[(&str, &str)]) -> Self {
        Self(
            files
                .iter()
                .map(|(path, text)| Self::file(path, text.as_bytes().to_vec()))
                .collect(),
        )
    }

    /// Every file, in git's order.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.0.iter()
    }

    /// Every Rust file.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files().filter(|file| file.is_rust())
    }

    /// The file at this path.
    pub fn at(&self, path: &str) -> Option<&File> {
        self.files().find(|file| file.path == path)
    }

    fn file(path: &str, bytes: Vec<u8>) -> File {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        File {
            path: path.to_owned(),
            text,
            bytes,
        }
    }
}
