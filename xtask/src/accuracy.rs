//! `cargo xtask accuracy`: every fault behind every gateway, and what was said of each.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::process::{as_root, cargo, run as run_through, shown};
use crate::{demo, packages, repository, test};

#[derive(clap::Args)]
pub struct Arguments {
    /// `--seed N,…`, `--gateway NAME,…`, `--fault WORD,…`, `--cell GATEWAY/FAULT`, `--sample`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// The whole matrix is the page in the documentation; a part of it writes none.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    packages::install(test::PACKAGES)?;
    run_through(&mut demo::agent_build())?;
    run_through(&mut player_build())?;
    let mut player = as_root(repository::target().join("release/accuracy"));
    player.env("PROBE502_BIN", repository::agent());
    player
        .arg("--keep")
        .arg(repository::target().join("accuracy"));
    let narrowed = |word: &String| {
        ["--gateway", "--fault", "--cell", "--sample", "--help"]
            .iter()
            .any(|narrow| word.starts_with(narrow))
    };
    if !arguments.rest.iter().any(narrowed) {
        player
            .arg("--page")
            .arg(repository::root().join("docs/accuracy.md"));
    }
    player.args(&arguments.rest);
    let status = player
        .status()
        .with_context(|| format!("cannot run {}", shown(&player)))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

/// Builds what plays the faults.
pub fn player_build() -> Command {
    let mut build = cargo();
    build.args([
        "build",
        "--release",
        "--locked",
        "--package",
        "probe502-tests",
        "--bins",
    ]);
    build.current_dir(repository::root());
    build
}
