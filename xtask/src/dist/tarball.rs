//! The program with its pages, for a host without packages.

use anyhow::Result;

use super::archive::{Tree, gzip};
use super::{Package, Release, source, sources};

/// What one unpacks and runs.
pub fn pack(release: &Release) -> Result<Package> {
    let name = format!(
        "probe502-{}-{}-linux",
        release.version,
        std::env::consts::ARCH
    );
    let mut tree = Tree::default();
    tree.file("probe502", 0o755, release.program()?);
    for file in ["README.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        tree.file(file, 0o644, source(file)?);
    }
    for file in ["probe502.service", "config.toml"] {
        tree.file(file, 0o644, source(&format!("deploy/{file}"))?);
    }
    for (path, page) in manuals(release)? {
        tree.file(&format!("man/{path}"), 0o644, page);
    }
    for (shell, file) in SHELLS {
        let script = release.prints(&["completions", shell])?;
        tree.file(&format!("completions/{file}"), 0o644, script.into_bytes());
    }
    for (path, bytes) in sources("dashboards")? {
        tree.file(&format!("dashboards/{path}"), 0o644, bytes);
    }
    let bytes = gzip(&tree.tar(&format!("{name}/"), release.time)?)?;
    Ok((format!("{name}.tar.gz"), bytes))
}

/// Shells, and what each calls its file of completions.
pub const SHELLS: [(&str, &str); 3] = [
    ("bash", "probe502"),
    ("zsh", "_probe502"),
    ("fish", "probe502.fish"),
];

/// The manual's pages by their names.
pub fn manuals(release: &Release) -> Result<Vec<(String, Vec<u8>)>> {
    let folder = tempfile::tempdir()?;
    let into = folder.path().display().to_string();
    release.prints(&["man", "--into", &into])?;
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(folder.path())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        pages.push((name, std::fs::read(entry.path())?));
    }
    pages.sort();
    Ok(pages)
}
