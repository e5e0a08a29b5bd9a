//! The tools that build the kernel programs: found, installed if missing, and put on record.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{self, cargo, on_path, read};
use crate::{packages, repository};

/// Measured: 0.13 of LLVM 22 reads what rustc 1.95 writes.
const LINKER: &str = "0.13.0";
const LLVM: &str = "/usr/lib/llvm-22";
/// bpf-linker builds against these; llvm-22 comes with them and brings llvm-objcopy.
const PACKAGES: &[&str] = &[
    "llvm-22",
    "llvm-22-dev",
    "libpolly-22-dev",
    "zlib1g-dev",
    "libzstd-dev",
    "gcc",
    "libc6-dev",
];

/// The machine cannot have LLVM 22: the one reason for which the check may be skipped.
#[derive(Debug)]
pub struct Unavailable(String);

impl std::fmt::Display for Unavailable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "LLVM 22 cannot be installed here: {}", self.0)
    }
}

impl std::error::Error for Unavailable {}

/// Tools that work.
pub struct Tools {
    pub linker: PathBuf,
    pub objcopy: PathBuf,
    /// rustc's own folder, with the sources of `core`.
    pub sysroot: PathBuf,
    pub versions: Versions,
}

/// What decides the object's bits besides its sources.
#[derive(Debug, PartialEq)]
pub struct Versions {
    rustc: String,
    linker: String,
    llvm: String,
}

impl Versions {
    /// The text of ebpf/probe502.bpf.toolchain.
    pub fn record(&self, sha256: &str) -> String {
        format!("{}sha256 {sha256}\n", self.lines())
    }

    /// What differs from a record; `None` where nothing does.
    pub fn differences(record: &str, here: &Self) -> Option<String> {
        let noted: Vec<&str> = record.lines().collect();
        let lines = here.lines();
        let other: Vec<String> = lines
            .lines()
            .filter(|line| !noted.contains(line))
            .map(|line| {
                let tool = line.split(' ').next().unwrap_or(line);
                let then = noted
                    .iter()
                    .find(|noted| noted.split(' ').next() == Some(tool));
                format!("  here {line}; recorded {}", then.unwrap_or(&"nothing"))
            })
            .collect();
        (!other.is_empty()).then(|| other.join("\n"))
    }

    fn lines(&self) -> String {
        format!(
            "rustc {}\nbpf-linker {}\nllvm {}\n",
            self.rustc, self.linker, self.llvm
        )
    }
}

/// Finds or installs all of them.
pub fn ready() -> Result<Tools> {
    if let Err(error) = packages::install(PACKAGES) {
        return Err(Unavailable(format!("{error:#}")).into());
    }
    let sysroot = PathBuf::from(read(Command::new("rustc").args(["--print", "sysroot"]))?);
    if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
        process::run(Command::new("rustup").args(["component", "add", "rust-src"]))
            .context("the sources of `core` are missing: `rustup component add rust-src`")?;
    }
    let linker = linker()?;
    let versions = Versions {
        rustc: rustc()?,
        linker: LINKER.to_owned(),
        llvm: read(Command::new(format!("{LLVM}/bin/llvm-config")).arg("--version"))?,
    };
    Ok(Tools {
        linker,
        objcopy: format!("{LLVM}/bin/llvm-objcopy").into(),
        sysroot,
        versions,
    })
}

/// Release, commit and host: cargo's symbol hashes depend on each.
fn rustc() -> Result<String> {
    let said = read(Command::new("rustc").arg("-vV"))?;
    let field = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
            .with_context(|| format!("`rustc -vV` says no {name}"))
    };
    Ok(format!(
        "{} {} {}",
        field("release:")?,
        field("commit-hash:")?,
        field("host:")?
    ))
}

/// One on the PATH of the right version, or our own under target/.
fn linker() -> Result<PathBuf> {
    if on_path("bpf-linker") && is_right("bpf-linker") {
        return Ok("bpf-linker".into());
    }
    let folder = repository::target().join("tools");
    let own = folder.join("bin/bpf-linker");
    if own.is_file() && is_right(&own) {
        return Ok(own);
    }
    eprintln!("building bpf-linker {LINKER} against LLVM 22 (once, about a minute)");
    let mut install = cargo();
    install.args([
        "install",
        "bpf-linker",
        "--locked",
        "--force",
        "--version",
        LINKER,
    ]);
    install
        .args(["--no-default-features", "--features", "llvm-22", "--root"])
        .arg(&folder);
    install
        .env("LLVM_PREFIX", LLVM)
        .env_remove("CARGO_TARGET_DIR");
    process::run(&mut install)?;
    Ok(own)
}

fn is_right(linker: impl AsRef<std::ffi::OsStr>) -> bool {
    let said = read(Command::new(linker).arg("--version"));
    said.is_ok_and(|said| said == format!("bpf-linker {LINKER}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(llvm: &str) -> Versions {
        Versions {
            rustc: "1.95.0 abc x86".into(),
            linker: "0.13.0".into(),
            llvm: llvm.into(),
        }
    }

    #[test]
    fn the_same_tools_do_not_differ() {
        assert_eq!(
            Versions::differences(&versions("22.1.8").record("00"), &versions("22.1.8")),
            None
        );
    }

    #[test]
    fn another_llvm_is_named_with_both_versions() {
        let record = versions("22.1.8").record("00");
        let said = Versions::differences(&record, &versions("22.1.9")).unwrap();
        assert_eq!(said, "  here llvm 22.1.9; recorded llvm 22.1.8");
    }
}
