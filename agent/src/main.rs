//! `probe502`: names the network-level cause of each 502 that a gateway on this host answers.
#![forbid(unsafe_code)]

mod cli;
mod clock;
mod commands;
mod daemon;
mod demo;
mod exit;
mod filter;
mod history;
mod kernel;
mod kubernetes;
mod live;
mod output;
mod privilege;
mod recording;
mod senses;
mod stop;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (cli, matches) = cli::parse();
    exit::code(commands::run(cli, &matches))
}
