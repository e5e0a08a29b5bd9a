//! `cargo xtask fuzz`: any bytes at the core's doors, for as long as asked.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::{process, repository};

/// Every target, with what it may begin with besides the committed corpus.
const TARGETS: [(&str, Option<&str>); 5] = [
    ("decode", None),
    ("replay", Some("tests/scenarios")),
    ("heads", None),
    ("lookup", None),
    ("order", None),
];

#[derive(clap::Args)]
pub struct Arguments {
    /// Only these targets; without it all, one after the other
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each runs
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    seconds: u32,
}

/// Ends with an error at the first finding, which libFuzzer leaves in target/fuzz.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let known = TARGETS.map(|(name, _)| name);
    let stranger = arguments
        .targets
        .iter()
        .find(|name| !known.contains(&name.as_str()));
    if let Some(name) = stranger {
        bail!("no target '{name}': there are {}", known.join(", "));
    }
    let tool = ready()?;
    for (name, seeds) in TARGETS {
        if arguments.targets.is_empty() || arguments.targets.iter().any(|target| target == name) {
            one(&tool, name, seeds, arguments.seconds)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn one(tool: &Path, name: &str, seeds: Option<&str>, seconds: u32) -> Result<()> {
    let corpus = repository::root().join("fuzz/corpus").join(name);
    let grown = repository::target().join("fuzz").join(name);
    std::fs::create_dir_all(&grown).with_context(|| grown.display().to_string())?;
    let mut fuzz = nightly(tool);
    fuzz.args(["fuzz", "run", name])
        .args([&grown, &corpus])
        .args(seeds.map(|folder| repository::root().join(folder)))
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}-", grown.display()))
        .arg("-max_len=65536");
    let advice = || format!("mend it, and keep what it found in {}", corpus.display());
    process::run(&mut fuzz).with_context(advice)
}

/// cargo-fuzz of our own under target/, and the toolchain that libFuzzer's coverage needs.
fn ready() -> Result<PathBuf> {
    let folder = repository::target().join("tools");
    let tool = folder.join("bin/cargo-fuzz");
    if process::read(nightly("rustc").arg("--version")).is_err() {
        let mut install = Command::new("rustup");
        process::run(install.args(["toolchain", "install", "nightly", "--profile", "minimal"]))?;
    }
    if !tool.is_file() {
        let mut install = process::cargo();
        process::run(
            install
                .args(["install", "cargo-fuzz", "--locked", "--root"])
                .arg(&folder),
        )?;
    }
    Ok(tool)
}

/// The program under nightly, whatever toolchain runs this chore.
fn nightly(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]).arg(program);
    command.current_dir(repository::root().join("fuzz"));
    command.env_remove("CARGO");
    command
}
