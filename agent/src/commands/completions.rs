//! `completions`: for a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints them.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command(),
        "probe502",
        &mut script,
    );
    std::io::Write::write_all(&mut std::io::stdout(), &script)?;
    Ok(())
}
