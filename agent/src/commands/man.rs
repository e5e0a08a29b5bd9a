//! `man`: the manual pages, from the same text as `--help`.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::exit::Ending;

/// Print a manual page: `probe502 man | man -l -`
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The command; without it, probe502 itself
    #[arg(value_name = "COMMAND")]
    pub verb: Option<String>,
    /// Write every page into this folder instead
    #[arg(long, value_name = "FOLDER", conflicts_with = "verb")]
    pub into: Option<PathBuf>,
}

/// Prints it.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut command = Cli::command();
    command.build();
    if let Some(folder) = &arguments.into {
        let written = clap_mangen::generate_to(command, folder);
        return written.with_context(|| format!("cannot write into {}", folder.display()));
    }
    if let Some(verb) = &arguments.verb {
        let found = command.find_subcommand(verb).cloned();
        let missing = || Ending::NotFound(format!("there is no command '{verb}'"));
        command = found.ok_or_else(missing)?;
    }
    let mut page = Vec::new();
    Man::new(command)
        .render(&mut page)
        .context("cannot render the page")?;
    std::io::stdout().write_all(&page)?;
    Ok(())
}
