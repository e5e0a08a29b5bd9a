//! `record`: every event to a file, to be judged anywhere.

use std::path::PathBuf;

use tokio::time::MissedTickBehavior;

use super::watch;
use crate::cli::Sensing;
use crate::live::{Live, TURN};
use crate::stop;

/// Record every event to a file; `replay` gives the same verdicts again anywhere, without root
///
/// The file holds the first 256 bytes of failed requests and answers, addresses and process names.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The recording to write
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub sensing: Sensing,
}

/// Records until the end that was asked for.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut stop = std::pin::pin!(stop::asked(arguments.sensing.timeout)?);
    let recorder = watch::create(&arguments.file)?;
    let mut live = Live::start(
        &arguments.sensing.options(),
        arguments.sensing.naming(),
        Some(recorder),
    )?;
    eprintln!("recording to {}; Ctrl-C ends", arguments.file.display());
    let mut turns = tokio::time::interval(TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answers = 0;
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = turns.tick() => {
                answers += live.answers()?.len();
                turns.reset_after(live.pause());
            }
        }
    }
    answers += live.last_turns().await?.len();
    let totals = live.finish()?;
    let events = totals.recorded.unwrap_or(0);
    let losses = totals.losses();
    eprintln!("{events} events recorded, {answers} failed answers; {losses}");
    Ok(())
}
