//! `demo`: real failures on loopback, each labelled live, and a table of what was said.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use probe502_core::verdict::Verdict;
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use crate::demo::oom::MemoryLimit;
use crate::demo::scenes::{SCRIPTS, Scene, Script};
use crate::demo::stage::{Answer, Stage};
use crate::kernel::Options;
use crate::live::{Live, TURN};
use crate::output::paint::Paint;
use crate::output::{Form as OutputForm, Output};
use crate::senses::Naming;

/// Break a small gateway's upstreams on loopback in every way, and label each 502
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    pub output: Form,
    /// See answers leave by cgroup_skb/egress even where the kernel has tcp_sendmsg_locked
    #[arg(long)]
    pub force_egress: bool,
}

/// The demo's own forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Blocks and a table.
    Text,
    /// A JSON object for each verdict, then one for the table.
    Json,
}

/// The longest grace is 800 ms.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Another probe502 that watches this host judges up to a few turns later than the demo itself.
const AFTER: Duration = Duration::from_millis(100);

/// Good requests before each scene.
const GOOD: u32 = 5;

/// A line of the table.
#[derive(Debug, Serialize)]
struct Row {
    broken: String,
    said: String,
    right: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expected: Vec<&'static str>,
}

/// Plays every scene; an error where not every label is right.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let options = Options {
        force_egress: arguments.force_egress,
        ..Options::default()
    };
    let mut show = Show::open(arguments, Live::start(&options, Naming::default(), None)?)?;
    let mut stage = show.watching(Stage::set()).await?;
    for script in SCRIPTS {
        show.play(script, &mut stage).await?;
    }
    show.settle(PATIENCE, None).await?;
    show.judge_good(&stage);
    show.table()
}

struct Show {
    live: Live,
    form: Form,
    output: Output<std::io::Stdout>,
    unclaimed: Vec<Verdict>,
    rows: Vec<Row>,
    left_out: Vec<String>,
}

impl Show {
    fn open(arguments: &Arguments, live: Live) -> anyhow::Result<Self> {
        eprintln!("watching; {} ways to break follow", SCRIPTS.len());
        let form = match arguments.output {
            Form::Text => OutputForm::Text,
            Form::Json => OutputForm::Json,
        };
        Ok(Self {
            live,
            form: arguments.output,
            output: Output::stdout(form),
            unclaimed: Vec::new(),
            rows: Vec::new(),
            left_out: Vec::new(),
        })
    }

    /// Does the work while the senses are read.
    async fn watching<T>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let mut work = std::pin::pin!(work);
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = turns.tick() => self.unclaimed.extend(self.live.answers()?),
            }
        }
    }

    async fn play(&mut self, script: &Script, stage: &mut Stage) -> anyhow::Result<()> {
        if script.scene == Scene::OutOfMemory
            && let Err(error) = MemoryLimit::make()
        {
            self.left_out.push(format!("{}: {error:#}", script.broken));
            return Ok(());
        }
        if self.form == Form::Text {
            let heading = format!("# {}. {}", self.rows.len() + 1, script.broken);
            writeln!(std::io::stdout(), "{}", Paint::stdout().bold(&heading))?;
        }
        self.watching(stage.bring_good()).await?;
        self.watching(stage.good_requests(GOOD)).await?;
        let played = self.watching(script.play(stage)).await;
        let (answer, upstream) = played.context(script.broken)?;
        let verdict = self.settle(PATIENCE, Some(answer)).await?;
        self.settle(AFTER, None).await?;
        self.watching(upstream.dismiss()).await?;
        if let Some(verdict) = &verdict {
            self.output.tell(verdict)?;
            self.output.flush()?;
        }
        let right = verdict
            .as_ref()
            .is_some_and(|verdict| script.right.contains(&verdict.cause));
        let expected = script.right.iter().map(|cause| cause.id()).collect();
        let said = verdict.as_ref().map_or_else(|| "nothing".to_owned(), said);
        self.rows.push(Row {
            broken: script.broken.to_owned(),
            said,
            right,
            expected,
        });
        Ok(())
    }

    /// Waits for the verdict of an answer, or just for as long.
    async fn settle(
        &mut self,
        patience: Duration,
        answer: Option<Answer>,
    ) -> anyhow::Result<Option<Verdict>> {
        let client = answer.map(|answer| answer.client.to_string());
        let end = Instant::now() + patience;
        while Instant::now() < end {
            tokio::time::sleep(TURN).await;
            self.unclaimed.extend(self.live.answers()?);
            let ours = |verdict: &Verdict| Some(&verdict.client) == client.as_ref();
            if let Some(at) = self.unclaimed.iter().position(ours) {
                return Ok(Some(self.unclaimed.remove(at)));
            }
        }
        Ok(None)
    }

    /// What nobody claimed was said of a good request, or twice, or of another gateway here.
    fn judge_good(&mut self, stage: &Stage) {
        let ours = |verdict: &&Verdict| verdict.gateway.who.pid == stage.gateway();
        let said: Vec<String> = self.unclaimed.iter().filter(ours).map(said).collect();
        self.rows.push(Row {
            broken: format!("{} good requests in between", stage.good_requests),
            right: said.is_empty(),
            said: if said.is_empty() {
                "nothing".to_owned()
            } else {
                said.join(", ")
            },
            expected: Vec::new(),
        });
    }

    fn table(self) -> anyhow::Result<()> {
        let wrong = self.rows.iter().filter(|row| !row.right).count();
        let told = match self.form {
            Form::Text => text(&self.rows, &self.left_out, Paint::stdout()),
            Form::Json => {
                let (rows, left_out, right) = (&self.rows, &self.left_out, wrong == 0);
                let schema = "probe502.demo/1";
                serde_json::json!({"schema": schema, "rows": rows, "left_out": left_out, "right": right})
                    .to_string() + "\n"
            }
        };
        std::io::stdout().write_all(told.as_bytes())?;
        if wrong > 0 {
            bail!("{wrong} of {} labels are wrong", self.rows.len());
        }
        Ok(())
    }
}

fn said(verdict: &Verdict) -> String {
    let sure = serde_json::to_value(verdict.confidence).ok();
    let sure = sure.as_ref().and_then(|sure| sure.as_str()).unwrap_or("");
    format!("{}, {sure}", verdict.cause)
}

fn text(rows: &[Row], left_out: &[String], paint: Paint) -> String {
    let width = |of: fn(&Row) -> &String, least: usize| {
        rows.iter()
            .map(|row| of(row).chars().count())
            .max()
            .unwrap_or(0)
            .max(least)
    };
    let (broken, said) = (width(|row| &row.broken, 15), width(|row| &row.said, 13));
    let heading = format!(
        "{:broken$}  {:said$}  right?",
        "what was broken", "what was said"
    );
    let mut out = format!("{}\n", paint.bold(&heading));
    for row in rows {
        let right = match row.right {
            true => paint.green("yes"),
            false => paint.red(&format!("no: {}", row.expected.join(" or "))),
        };
        out.push_str(&format!(
            "{:broken$}  {:said$}  {right}\n",
            row.broken, row.said
        ));
    }
    for left_out in left_out {
        out.push_str(&format!("left out: {left_out}\n"));
    }
    let right = rows.iter().filter(|row| row.right).count();
    out + &format!("{right} of {} right\n", rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_was_right() {
        let row = |broken: &str, right| Row {
            broken: broken.to_owned(),
            said: "process.exit, proven".to_owned(),
            right,
            expected: vec!["process.crash"],
        };
        let told = text(
            &[row("a", true), row("b", false)],
            &["c: none".to_owned()],
            Paint::Plain,
        );
        let expected = "\
what was broken  what was said         right?
a                process.exit, proven  yes
b                process.exit, proven  no: process.crash
left out: c: none
1 of 2 right
";
        assert_eq!(told, expected);
    }
}
