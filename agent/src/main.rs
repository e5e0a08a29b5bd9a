//! `probe502`: names the network-level cause of each 502 that a gateway on this host answers.
#![forbid(unsafe_code)]

mod cli;
mod clock;
mod commands;
mod demo;
mod exit;
mod filter;
mod kernel;
mod live;
mod output;
mod privilege;
mod recording;
mod senses;
mod stop;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    exit::code(commands::run(cli::Cli::parse()))
}
