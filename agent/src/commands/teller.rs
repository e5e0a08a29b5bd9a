//! Tells verdicts and what is told besides them, and counts both: for `watch` and `replay`.

use std::collections::BTreeMap;

use anyhow::Context as _;
use probe502_core::cause::Cause;
use probe502_core::notice::{Deploy, Notice, Outcome};
use probe502_core::verdict::{Kind, Verdict};

use crate::cli::Besides;
use crate::filter::Filter;
use crate::output::notice::text;
use crate::output::paint::Paint;
use crate::output::{Form, Output};

type Counts = BTreeMap<Cause, u64>;

/// What is told, and how much of it.
pub struct Teller {
    filter: Filter,
    besides: Besides,
    form: Form,
    output: Output<std::io::Stdout>,
    answers: Counts,
    silent: Counts,
    rescued: Counts,
    unseen: Counts,
}

impl Teller {
    /// To stdout.
    pub fn new(filter: Filter, besides: Besides, form: Form) -> Self {
        Self {
            filter,
            besides,
            form,
            output: Output::stdout(form),
            answers: Counts::new(),
            silent: Counts::new(),
            rescued: Counts::new(),
            unseen: Counts::new(),
        }
    }

    /// Tells a verdict where it is asked for; whether it was.
    pub fn tell(&mut self, verdict: &Verdict) -> anyhow::Result<bool> {
        if !self.filter.concerns(verdict) {
            return Ok(false);
        }
        let counts = match verdict.kind {
            Kind::Answer => &mut self.answers,
            Kind::Silent => &mut self.silent,
        };
        *counts.entry(verdict.cause).or_default() += 1;
        let told = self.filter.passes(verdict);
        if told {
            self.output.tell(verdict)?;
        }
        Ok(told)
    }

    /// Tells what is told besides verdicts, where it is asked for.
    pub fn notice(&mut self, notice: &Notice) -> anyhow::Result<()> {
        match notice {
            Notice::NearMiss(near) if !self.filter.passes_near(near) => {}
            Notice::Warning(warning) if !self.filter.passes_warning(warning) => {}
            Notice::Deploy(deploy) if !self.filter.passes_deploy(deploy) => {}
            Notice::Deploy(deploy) => self.deploy(notice, deploy)?,
            Notice::Warning(_) if self.besides.stories || self.form != Form::Json => {
                self.output.tell_notice(notice)?;
            }
            Notice::Warning(_) => eprint!("{}", text(notice, Paint::Plain)),
            Notice::NearMiss(near) => {
                let counts = match near.outcome {
                    Outcome::Rescued => &mut self.rescued,
                    Outcome::Unseen => &mut self.unseen,
                };
                *counts.entry(near.cause).or_default() += 1;
                if self.besides.near_misses {
                    self.output.tell_notice(notice)?;
                }
            }
        }
        Ok(())
    }

    /// A program reads all of them; people those that failed someone.
    fn deploy(&mut self, notice: &Notice, deploy: &Deploy) -> anyhow::Result<()> {
        let harmful = deploy.failed > 0;
        match self.form {
            Form::Json if self.besides.stories => self.output.tell_notice(notice)?,
            Form::Json if harmful => eprint!("{}", text(notice, Paint::Plain)),
            Form::Text | Form::Wide if harmful || self.besides.stories => {
                self.output.tell_notice(notice)?;
            }
            Form::Json | Form::Text | Form::Wide => {}
        }
        Ok(())
    }

    /// Writes what was told.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        self.output.flush().context("cannot write to stdout")
    }

    /// The lines that a run ends with.
    pub fn summary(&self, losses: &str) -> String {
        let mut lines = vec![summary(&self.answers, losses)];
        let shown = |flag: bool, name: &str| {
            if flag {
                String::new()
            } else {
                format!(" ({name} shows them)")
            }
        };
        let mut add = |counts: &Counts, words: &str, hint: String| {
            if !counts.is_empty() {
                lines.push(format!("{words}: {}{hint}", ranked(counts)));
            }
        };
        add(
            &self.silent,
            "failures without an answer",
            shown(self.filter.silent, "--silent"),
        );
        let nears = shown(self.besides.near_misses, "--near-misses");
        add(
            &self.rescued,
            "near misses, rescued by a retry",
            nears.clone(),
        );
        add(
            &self.unseen,
            "attempts that failed, and no failed answer was seen",
            nears,
        );
        lines.join("\n")
    }
}

/// `2 listener.absent, 1 process.crash`.
fn ranked(causes: &Counts) -> String {
    let mut ranked: Vec<_> = causes.iter().collect();
    ranked.sort_by_key(|(cause, count)| (std::cmp::Reverse(**count), **cause));
    let ranked: Vec<String> = ranked
        .iter()
        .map(|(cause, count)| format!("{count} {cause}"))
        .collect();
    ranked.join(", ")
}

/// `3 failed answers: 2 listener.absent, 1 process.crash; no record lost`.
fn summary(causes: &Counts, lost: &str) -> String {
    let ranked = ranked(causes);
    match causes.values().sum::<u64>() {
        0 => format!("no failed answer; {lost}"),
        1 => format!("1 failed answer: {ranked}; {lost}"),
        many => format!("{many} failed answers: {ranked}; {lost}"),
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
        let told = summary(&causes.into_iter().collect(), "no record lost");
        assert_eq!(
            told,
            "6 failed answers: 4 listener.absent, 1 process.crash, 1 process.exit; no record lost"
        );
        assert_eq!(
            summary(&BTreeMap::new(), "2 records lost"),
            "no failed answer; 2 records lost"
        );
    }
}
