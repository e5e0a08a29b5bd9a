//! `cargo xtask ebpf`: the kernel programs' object, from source, the same bits everywhere.

mod object;
mod toolchain;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::repository;
use toolchain::Versions;

#[derive(clap::Args)]
pub struct Arguments {
    /// Compare a fresh build with the committed object; write nothing into ebpf/.
    #[arg(long)]
    check: bool,
    /// With --check and other toolchain versions: where to put the fresh object for the tests.
    #[arg(long, value_name = "PATH", requires = "check")]
    use_fresh: Option<PathBuf>,
}

/// What a check found.
pub enum Checked {
    /// The fresh build is the committed object, bit for bit.
    Identical,
    /// Other versions built it, so bits cannot be compared: this object must pass the tests.
    Incomparable(PathBuf),
}

/// Why there is no toolchain to build with, apart from all faults of the sources.
pub use toolchain::Unavailable;

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let fresh = match &arguments.use_fresh {
        Some(path) => path.clone(),
        None => repository::target().join("probe502.fresh.bpf.o"),
    };
    if arguments.check {
        check(&fresh)?;
    } else {
        build()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn build() -> Result<()> {
    let tools = toolchain::ready()?;
    let bytes = object::build(&tools)?;
    let (object, record) = committed();
    std::fs::write(&object, &bytes)
        .with_context(|| format!("cannot write {}", object.display()))?;
    std::fs::write(&record, tools.versions.record(&sha256(&bytes)))
        .with_context(|| format!("cannot write {}", record.display()))?;
    println!(
        "{}: {} bytes, sha256 {}",
        object.display(),
        bytes.len(),
        sha256(&bytes)
    );
    Ok(())
}

/// Builds afresh and compares; where only the tests can judge, the object goes to `fresh`.
pub fn check(fresh: &Path) -> Result<Checked> {
    let (object, record) = committed();
    let old = std::fs::read(&object)
        .with_context(|| format!("{} is missing: run `cargo xtask ebpf`", object.display()))?;
    let noted = std::fs::read_to_string(&record)
        .with_context(|| format!("{} is missing: run `cargo xtask ebpf`", record.display()))?;
    let tools = toolchain::ready()?;
    let new = object::build(&tools)?;
    if new == old {
        println!(
            "ebpf/probe502.bpf.o is what its sources give, bit for bit: {}",
            sha256(&old)
        );
        return Ok(Checked::Identical);
    }
    if let Some(differences) = Versions::differences(&noted, &tools.versions) {
        std::fs::create_dir_all(fresh.parent().unwrap_or(fresh))?;
        std::fs::write(fresh, &new).with_context(|| format!("cannot write {}", fresh.display()))?;
        println!("other tools than the committed object's, so the bits cannot be compared:");
        println!("{differences}");
        println!("the fresh object must pass the same tests; `cargo xtask test` does that, or set");
        println!(
            "PROBE502_OBJECT={} when you build the agent",
            fresh.display()
        );
        return Ok(Checked::Incomparable(fresh.to_path_buf()));
    }
    bail!(
        "ebpf/probe502.bpf.o is not what its sources give with the same tools\n  \
         committed  {} bytes, sha256 {}\n  fresh      {} bytes, sha256 {}\n\
         run `cargo xtask ebpf` and commit ebpf/probe502.bpf.*",
        old.len(),
        sha256(&old),
        new.len(),
        sha256(&new)
    )
}

fn committed() -> (PathBuf, PathBuf) {
    let folder = repository::root().join("ebpf");
    (
        folder.join("probe502.bpf.o"),
        folder.join("probe502.bpf.toolchain"),
    )
}

/// The digest as `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
