//! The verbs, a file for each.

pub mod agent;
pub mod completions;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod history;
pub mod man;
pub mod record;
pub mod replay;
pub mod says;
mod teller;
pub mod watch;

use anyhow::Context as _;
use clap::ArgMatches;

use crate::cli::{Cli, Verb};
use crate::demo::{gateway, upstream};

/// Does what the command line asks for.
pub fn run(cli: Cli, matches: &ArgMatches) -> anyhow::Result<()> {
    let matches = matches.subcommand().map_or(matches, |(_, of)| of);
    match cli.verb {
        Verb::Watch(arguments) => block_on(watch::run(&arguments)),
        Verb::Agent(arguments) => block_on(agent::run(&arguments, matches)),
        Verb::History(arguments) => history::run(&arguments),
        Verb::Config(arguments) => config::run(&arguments, matches),
        Verb::Doctor(arguments) => doctor::run(&arguments),
        Verb::Explain(arguments) => explain::run(&arguments),
        Verb::Record(arguments) => block_on(record::run(&arguments)),
        Verb::Replay(arguments) => replay::run(&arguments),
        Verb::Demo(arguments) => block_on(demo::run(&arguments)),
        Verb::Completions(arguments) => completions::run(&arguments),
        Verb::Man(arguments) => man::run(&arguments),
        Verb::DemoGateway(arguments) => block_on(gateway::run(&arguments)),
        Verb::DemoUpstream(arguments) => block_on(upstream::run(&arguments)),
    }
}

/// One thread: the loop that owns the core shares it with nobody.
fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(work)
}
