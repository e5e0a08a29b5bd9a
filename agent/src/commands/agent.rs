//! `agent`: the daemon.

use clap::ArgMatches;

use crate::daemon::{self, settings::Flags, settings::Settings};

/// Run as a daemon: metrics, health, a live page and a history of every failed answer
///
/// A flag outdoes the environment, the environment the file, the file the default; `probe502 config
/// show --origin` says what holds. SIGHUP reads the file again.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub flags: Flags,
}

/// Runs until SIGTERM or Ctrl-C.
pub async fn run(arguments: &Arguments, matches: &ArgMatches) -> anyhow::Result<()> {
    let reread = || Settings::gather(&arguments.flags, matches);
    daemon::run(reread()?, &reread).await
}
