//! `watch`: each failed answer as it happens.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use probe502_core::cause::Cause;
use probe502_core::verdict::Verdict;
use tokio::time::MissedTickBehavior;

use crate::cli::{Choice, Sensing};
use crate::filter::Filter;
use crate::live::{Live, TURN, Totals};
use crate::output::{Form, Output};
use crate::recording::Recorder;
use crate::stop;

/// Label each failed answer of every gateway on this host, as it happens
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub sensing: Sensing,
    #[command(flatten)]
    pub choice: Choice,
    /// Stop after this many answers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max: Option<u64>,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    pub output: Form,
    /// Record every event to this file for `replay`
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// End with the counts of kernel events and losses as JSON on stderr
    #[arg(long)]
    pub stats: bool,
}

/// Watches until the end that was asked for.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let stop = stop::asked(arguments.sensing.timeout)?;
    let recorder = arguments.record.as_deref().map(create).transpose()?;
    let mut live = Live::start(&arguments.sensing.options(), recorder)?;
    eprintln!("{}", greeting(&live, arguments));
    let mut watch = Watch::new(arguments);
    let told = watch.until(&mut live, stop).await;
    let totals = live.finish()?;
    told?;
    watch.summary(&totals, arguments.stats);
    Ok(())
}

/// Creates a recording, or says which file could not be.
pub fn create(path: &std::path::Path) -> anyhow::Result<Recorder> {
    Recorder::create(path).with_context(|| format!("cannot create {}", path.display()))
}

struct Watch {
    filter: Filter,
    output: Output<std::io::Stdout>,
    max: u64,
    told: u64,
    causes: BTreeMap<Cause, u64>,
}

impl Watch {
    fn new(arguments: &Arguments) -> Self {
        Self {
            filter: arguments.choice.filter(),
            output: Output::stdout(arguments.output),
            max: arguments.max.unwrap_or(u64::MAX),
            told: 0,
            causes: BTreeMap::new(),
        }
    }

    async fn until(
        &mut self,
        live: &mut Live,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let mut stop = std::pin::pin!(stop);
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.told < self.max {
            tokio::select! {
                () = &mut stop => return self.tell(live.last_turns().await?),
                _ = turns.tick() => self.tell(live.turn()?)?,
            }
        }
        Ok(())
    }

    fn tell(&mut self, verdicts: Vec<Verdict>) -> anyhow::Result<()> {
        for verdict in verdicts
            .iter()
            .filter(|verdict| self.filter.passes(verdict))
        {
            if self.told == self.max {
                break;
            }
            self.output.tell(verdict)?;
            self.told += 1;
            *self.causes.entry(verdict.cause).or_default() += 1;
        }
        self.output.flush().context("cannot write to stdout")
    }

    fn summary(&self, totals: &Totals, stats: bool) {
        eprintln!("{}", summary(&self.causes, totals.lost));
        if let Some(events) = totals.recorded {
            eprintln!("{events} events recorded");
        }
        if stats {
            let stats = serde_json::json!({
                "events": totals.events, "lost": totals.lost, "verdicts": self.told,
            });
            eprintln!("stats {stats}");
        }
    }
}

fn greeting(live: &Live, arguments: &Arguments) -> String {
    let list = |numbers: &[u16]| {
        numbers
            .iter()
            .map(u16::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let ports = match arguments.choice.port.as_slice() {
        [] => "on every port".to_owned(),
        ports => format!("on port {}", list(ports)),
    };
    let (attached, missing) = live.senses();
    let missing = match missing.as_slice() {
        [] => String::new(),
        missing => format!("; missing: {} (see `probe502 doctor`)", missing.join(", ")),
    };
    let statuses = list(&arguments.sensing.status);
    format!("watching for {statuses} {ports}: {attached} hooks attached{missing}; Ctrl-C ends")
}

/// `3 failed answers: 2 listener.absent, 1 process.crash; no record lost`.
pub fn summary(causes: &BTreeMap<Cause, u64>, lost: u64) -> String {
    let mut ranked: Vec<_> = causes.iter().collect();
    ranked.sort_by_key(|(cause, count)| (std::cmp::Reverse(**count), **cause));
    let ranked: Vec<String> = ranked
        .iter()
        .map(|(cause, count)| format!("{count} {cause}"))
        .collect();
    let lost = match lost {
        0 => "no record lost".to_owned(),
        lost => format!("{lost} records lost"),
    };
    match causes.values().sum::<u64>() {
        0 => format!("no failed answer; {lost}"),
        1 => format!("1 failed answer: {}; {lost}", ranked.join(", ")),
        many => format!("{many} failed answers: {}; {lost}", ranked.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_ranks_the_causes() {
        let causes = [
            (Cause::Crash, 1),
            (Cause::ListenerAbsent, 4),
            (Cause::Exit, 1),
        ];
        let told = summary(&causes.into_iter().collect(), 0);
        assert_eq!(
            told,
            "6 failed answers: 4 listener.absent, 1 process.crash, 1 process.exit; no record lost"
        );
        assert_eq!(
            summary(&BTreeMap::new(), 2),
            "no failed answer; 2 records lost"
        );
    }
}
