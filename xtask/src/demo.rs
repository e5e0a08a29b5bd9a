//! `cargo xtask demo`: the agent, built and shown at work.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::process::{self, as_root, cargo, shown};
use crate::repository;

#[derive(clap::Args)]
pub struct Arguments {
    /// Passed on to `probe502 demo`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Ends as the demo ends: 0 only if every failure was named right.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    process::run(&mut agent_build())?;
    let mut demo = as_root(repository::agent());
    demo.arg("demo").args(&arguments.rest);
    let status = demo
        .status()
        .with_context(|| format!("cannot run {}", shown(&demo)))?;
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// Builds the agent as its users have it.
pub fn agent_build() -> Command {
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--package", "probe502"]);
    build.current_dir(repository::root());
    build
}
