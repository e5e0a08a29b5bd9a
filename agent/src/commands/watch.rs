//! `watch`: each failed answer as it happens.

use std::path::PathBuf;

use anyhow::Context as _;
use probe502_core::verdict::Verdict;
use tokio::time::MissedTickBehavior;

use super::teller::Teller;
use crate::cli::{Besides, Choice, Sensing};
use crate::filter::Filter;
use crate::live::{Live, TURN, Totals};
use crate::output::Form;
use crate::recording::Recorder;
use crate::stop;

/// Label each failed answer of every gateway on this host, as it happens
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub sensing: Sensing,
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub besides: Besides,
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
    let mut live = Live::start(
        &arguments.sensing.options(),
        arguments.sensing.naming(),
        recorder,
    )?;
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
    teller: Teller,
    max: u64,
    told: u64,
    said_unix: bool,
}

impl Watch {
    fn new(arguments: &Arguments) -> Self {
        let filter = Filter {
            silent: arguments.sensing.silent,
            ..arguments.choice.filter()
        };
        Self {
            teller: Teller::new(filter, arguments.besides, arguments.output),
            max: arguments.max.unwrap_or(u64::MAX),
            told: 0,
            said_unix: false,
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
                () = &mut stop => {
                    let last = live.last_turns().await?;
                    return self.tell(last, live);
                }
                _ = turns.tick() => {
                    let verdicts = live.turn()?;
                    self.tell(verdicts, live)?;
                    turns.reset_after(live.pause());
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, verdicts: Vec<Verdict>, live: &mut Live) -> anyhow::Result<()> {
        for verdict in verdicts {
            if self.told == self.max {
                break;
            }
            self.told += u64::from(self.teller.tell(&verdict)?);
        }
        // Earlier connections to UNIX sockets are not seen; from here on they are.
        if live.watches_unix() && !std::mem::replace(&mut self.said_unix, true) {
            eprintln!("a gateway dialled a UNIX socket: such connections are watched from now on");
        }
        for word in live.words() {
            eprintln!("{}", word.text);
        }
        for notice in live.notices() {
            self.teller.notice(&notice)?;
        }
        self.teller.flush()
    }

    fn summary(&self, totals: &Totals, stats: bool) {
        eprintln!("{}", self.teller.summary(&totals.losses()));
        if let Some(events) = totals.recorded {
            eprintln!("{events} events recorded");
        }
        if stats {
            let stats = serde_json::json!({
                "events": totals.events, "lost": totals.lost,
                "lost_answers": totals.lost_answers, "verdicts": self.told,
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
