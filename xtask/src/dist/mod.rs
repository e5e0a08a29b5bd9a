//! `cargo xtask dist`: everything that is handed out, into `target/dist`.

mod archive;
pub mod binary;
mod chart;
mod debian;
mod image;
mod sbom;
mod tarball;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::process::read;
use crate::repository;

#[derive(clap::Args)]
pub struct Arguments {
    /// Package this binary instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where the packages go, instead of target/dist
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

/// What all packages share.
pub struct Release {
    /// The workspace's version.
    pub version: String,
    /// The commit's time, in seconds since 1970: the one time that every file in a package has.
    pub time: u64,
    /// The commit.
    pub commit: String,
    /// The program.
    pub binary: PathBuf,
}

/// A package: its file's name and its bytes.
pub type Package = (String, Vec<u8>);

/// Builds the program and packs it in every form.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => binary::build()?,
    };
    let release = Release::of(binary)?;
    let into = arguments.into.clone();
    let into = into.unwrap_or_else(|| repository::target().join("dist"));
    let packages = packages(&release)?;
    clear(&into)?;
    for (name, bytes) in &packages {
        let path = into.join(name);
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        println!("{:>10}  {}", bytes.len(), path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn packages(release: &Release) -> Result<Vec<Package>> {
    let mut packages = vec![
        tarball::pack(release)?,
        debian::pack(release)?,
        image::pack(release)?,
        sbom::write(release)?,
    ];
    packages.extend(chart::pack(release)?);
    let sums: String = packages
        .iter()
        .map(|(name, bytes)| format!("{}  {name}\n", sha256(bytes)))
        .collect();
    packages.push(("SHA256SUMS".to_owned(), sums.into_bytes()));
    Ok(packages)
}

/// Packages of an older version must not be taken for this one's.
fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(std::fs::create_dir_all(folder)?)
}

impl Release {
    fn of(binary: PathBuf) -> Result<Self> {
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            read(git.args(arguments).current_dir(repository::root()))
        };
        let time = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(time) => time,
            Err(_) => git(&["log", "-1", "--format=%ct"])
                .context("outside of git, SOURCE_DATE_EPOCH says when the sources were made")?,
        };
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: time.parse().context("SOURCE_DATE_EPOCH is no number")?,
            commit: git(&["rev-parse", "HEAD"]).unwrap_or_default(),
            binary,
        })
    }

    /// The program itself.
    pub fn program(&self) -> Result<Vec<u8>> {
        let read = std::fs::read(&self.binary);
        read.with_context(|| self.binary.display().to_string())
    }

    /// What the program prints for these words.
    pub fn prints(&self, words: &[&str]) -> Result<String> {
        read(Command::new(&self.binary).args(words)).map(|text| text + "\n")
    }

    /// The release's time by `date`'s format.
    pub fn date(&self, format: &str) -> Result<String> {
        let mut date = Command::new("date");
        date.env("LC_ALL", "C").args(["-u", "-d"]);
        read(date.args([format!("@{}", self.time), format!("+{format}")]))
    }

    /// The same as RFC 3339 says it.
    pub fn timestamp(&self) -> Result<String> {
        self.date("%Y-%m-%dT%H:%M:%SZ")
    }
}

/// A file of the repository.
pub fn source(path: &str) -> Result<Vec<u8>> {
    std::fs::read(repository::root().join(path)).with_context(|| path.to_owned())
}

/// Every file below a folder of the repository, by its path in that folder, in order.
pub fn sources(folder: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut entries = std::fs::read_dir(repository::root().join(folder))
        .with_context(|| folder.to_owned())?
        .collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        if entry.file_type()?.is_dir() {
            let below = sources(&path)?;
            found.extend(
                below
                    .into_iter()
                    .map(|(path, bytes)| (format!("{name}/{path}"), bytes)),
            );
        } else {
            found.push((name, source(&path)?));
        }
    }
    Ok(found)
}

/// The digest as hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// The processor's name as Debian and Go say it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
