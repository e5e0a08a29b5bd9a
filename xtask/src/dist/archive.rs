//! Archives whose bytes depend on nothing but what is in them.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// What a package holds, in the order of its paths.
#[derive(Default)]
pub struct Tree(BTreeMap<String, Node>);

struct Node {
    mode: u32,
    /// A folder has none.
    bytes: Option<Vec<u8>>,
}

impl Tree {
    /// Adds a file, and the folders above it.
    pub fn file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        self.above(path);
        let bytes = Some(bytes);
        self.0.insert(path.to_owned(), Node { mode, bytes });
    }

    /// Adds a folder, and those above it.
    pub fn folder(&mut self, path: &str, mode: u32) {
        self.above(path);
        self.0.insert(path.to_owned(), Node { mode, bytes: None });
    }

    fn above(&mut self, path: &str) {
        for (end, _) in path.match_indices('/') {
            let folder = Node {
                mode: 0o755,
                bytes: None,
            };
            self.0.entry(path[..end].to_owned()).or_insert(folder);
        }
    }

    /// Each file with its bytes.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0
            .iter()
            .filter_map(|(path, node)| Some((path.as_str(), node.bytes.as_deref()?)))
    }

    /// As a tar file, below `prefix`: of root, and of one time.
    pub fn tar(&self, prefix: &str, time: u64) -> Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for (path, node) in &self.0 {
            let mut header = Header::new_ustar();
            let bytes = node.bytes.as_deref().unwrap_or_default();
            let (kind, end) = match node.bytes {
                Some(_) => (EntryType::Regular, ""),
                None => (EntryType::Directory, "/"),
            };
            header.set_entry_type(kind);
            name(&mut header, &format!("{prefix}{path}{end}"))?;
            header.set_mode(node.mode);
            header.set_size(bytes.len() as u64);
            header.set_mtime(time);
            header.set_username("root")?;
            header.set_groupname("root")?;
            header.set_cksum();
            tar.append(&header, bytes)?;
        }
        Ok(tar.into_inner()?)
    }
}

/// To the letter: `Header::set_path` takes away the `./` that Debian's packages begin with.
fn name(header: &mut Header, path: &str) -> Result<()> {
    let place = header.as_old_mut().name.get_mut(..path.len());
    place
        .with_context(|| format!("{path} is too long for a tar header"))?
        .copy_from_slice(path.as_bytes());
    Ok(())
}

/// Compressed, without a name and a time.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them_whatever_was_added_first() {
        let mut tree = Tree::default();
        tree.file("usr/bin/x", 0o755, b"x".to_vec());
        tree.folder("usr", 0o700);
        tree.file("etc", 0o644, Vec::new());
        let bytes = tree.tar("./", 7).unwrap();
        let mut tar = tar::Archive::new(&bytes[..]);
        let entries = tar.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            (path, header.mode().unwrap(), header.mtime().unwrap())
        });
        let expected = [
            ("./etc", 0o644, 7),
            ("./usr/", 0o700, 7),
            ("./usr/bin/", 0o755, 7),
            ("./usr/bin/x", 0o755, 7),
        ];
        let expected = expected.map(|(path, mode, time)| (path.to_owned(), mode, time));
        assert_eq!(entries.collect::<Vec<_>>(), expected);
    }
}
