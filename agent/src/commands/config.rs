//! `config`: what the daemon would run with.

use std::io::Write as _;

use clap::{ArgMatches, Subcommand};

use crate::daemon::settings::{Flags, Settings};

/// Show what the agent would run with, and who said so
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Print every setting as the file would say it
    Show(Box<Show>),
    /// Print the JSON schema of the configuration file
    Schema,
}

/// Takes the agent's own flags, so that a command line can be tried.
#[derive(Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    pub flags: Flags,
    /// Say beside each setting where it comes from
    #[arg(long)]
    pub origin: bool,
}

const SCHEMA: &str = include_str!("../../../docs/config.schema.json");

/// Prints it; a file that is not understood is an error, as it would be for the agent.
pub fn run(arguments: &Arguments, matches: &ArgMatches) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let show = match &arguments.verb {
        Verb::Schema => return Ok(out.write_all(SCHEMA.as_bytes())?),
        Verb::Show(show) => show,
    };
    let matches = matches.subcommand_matches("show").unwrap_or(matches);
    let settings = Settings::gather(&show.flags, matches)?;
    for (name, value, origin) in settings.rows() {
        let line = match value.as_str() {
            "" => format!("# {name} is not set"),
            value => format!("{name} = {value}"),
        };
        if show.origin {
            writeln!(out, "{line:<36}  # {origin}")?;
        } else {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}
