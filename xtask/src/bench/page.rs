//! docs/performance.md: the numbers as tables.

use std::fmt::Write;
use std::path::Path;

use super::agent::Cost;
use super::load::{Load, Sample};
use super::others::Other;
use super::programs::Costs;
use super::report::{Pair, budget, median};
use crate::process;

const INTRODUCTION: &str = "# Performance

What the agent costs nginx, measured in pairs within one run: the same load without the agent and
with it, one right after the other, in turns as to which goes first. A ratio is that of one pair;
its median is given, and between brackets the least and the most of all pairs. What the load alone
differs by between its own runs stands beside it: a ratio within that says nothing.

nginx has one worker with a processor of its own; `wrk` asks over 16 kept-alive connections as fast
as it is answered, and shares the other processor with the upstream (another nginx) and the agent.
CPU is the kernel's count for the gateway's processes (`schedstat`).

Written by `cargo xtask bench --write docs/performance.md`.
";

/// The page while it grows.
pub struct Page {
    head: String,
    gateway: String,
    answers: String,
    agent: String,
    programs: String,
    others: String,
}

impl Page {
    pub fn new(agent: &Path, seconds: u32) -> Self {
        let kernel = process::read(std::process::Command::new("uname").arg("-r"));
        let size = std::fs::metadata(agent).map_or(0, |file| file.len());
        let head = format!(
            "Kernel {}, {} processors; the agent's file has {:.1} MB; each run {seconds} s.",
            kernel.unwrap_or_default().trim(),
            std::thread::available_parallelism().map_or(1, usize::from),
            size as f64 / 1e6,
        );
        Self {
            head,
            gateway: String::new(),
            answers: String::new(),
            agent: String::new(),
            programs: String::new(),
            others: String::new(),
        }
    }

    pub fn add(&mut self, load: Load, pairs: &[Pair], costs: &Costs) {
        // Writing to a String cannot fail.
        let _ = self.add_gateway(load, pairs);
        let _ = self.add_answers(load, pairs);
        let _ = self.add_agent(load, pairs);
        let _ = self.add_programs(load, costs);
    }

    pub fn add_others(&mut self, load: Load, others: &[Other]) {
        for other in others {
            let ratios = spread(other.ratios.iter().copied());
            let cores = median(other.cores.iter().copied());
            // As above.
            let _ = writeln!(
                self.others,
                "| {load} | {} | {ratios} | {cores:.2} |",
                other.name
            );
        }
    }

    fn add_gateway(&mut self, load: Load, pairs: &[Pair]) -> std::fmt::Result {
        let micros = |side: fn(&Pair) -> &Sample| {
            spread(pairs.iter().map(|pair| side(pair).nanos_each() / 1e3))
        };
        writeln!(
            self.gateway,
            "| {load} | {} | {} | {} | {} | {} |",
            pairs.len(),
            micros(|pair| &pair.without),
            micros(|pair| &pair.with),
            spread(pairs.iter().map(Pair::ratio)),
            budget(load),
        )
    }

    fn add_answers(&mut self, load: Load, pairs: &[Pair]) -> std::fmt::Result {
        for (name, side) in [
            (
                "without",
                (|pair| &pair.without) as for<'a> fn(&'a Pair) -> &'a Sample,
            ),
            ("with", |pair| &pair.with),
        ] {
            let of = |value: fn(&Sample) -> f64| median(pairs.iter().map(|pair| value(side(pair))));
            writeln!(
                self.answers,
                "| {load} | {name} | {:.0} | {:.2} | {:.2} |",
                of(Sample::rate),
                of(|sample| sample.half),
                of(|sample| sample.most),
            )?;
        }
        Ok(())
    }

    fn add_agent(&mut self, load: Load, pairs: &[Pair]) -> std::fmt::Result {
        let sum = |count: fn(&Cost) -> u64| pairs.iter().map(|pair| count(&pair.cost)).sum::<u64>();
        let failed: u64 = pairs.iter().map(|pair| pair.with.failed).sum();
        let of = |value: fn(&Cost) -> f64| median(pairs.iter().map(|pair| value(&pair.cost)));
        let each = if failed == 0 {
            String::new()
        } else {
            let each = of(|cost| cost.cpu.as_secs_f64() * 1e6 / cost.verdicts.max(1) as f64);
            format!("{each:.1}")
        };
        writeln!(
            self.agent,
            "| {load} | {:.2} | {each} | {:.1} | {:.2} | {failed} | {} | {} |",
            of(|cost| 100.0 * cost.cpu.as_secs_f64() / cost.took.as_secs_f64()),
            of(|cost| cost.memory as f64 / 1e6),
            of(|cost| cost.attached.as_secs_f64()),
            sum(|cost| cost.verdicts),
            sum(|cost| cost.lost),
        )
    }

    fn add_programs(&mut self, load: Load, costs: &Costs) -> std::fmt::Result {
        let requests = costs.requests.max(1) as f64;
        let mut ran: Vec<_> = costs
            .programs
            .iter()
            .map(|program| (&program.name, program.runs as f64, program.nanos as f64))
            // What others' connections on the host made run.
            .filter(|(_, runs, _)| runs / requests > 0.05)
            .collect();
        ran.sort_by(|one, other| other.2.total_cmp(&one.2));
        for (name, runs, nanos) in ran {
            writeln!(
                self.programs,
                "| {load} | `{name}` | {:.2} | {:.0} | {:.0} |",
                runs / requests,
                nanos / runs,
                nanos / requests
            )?;
        }
        Ok(())
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "{INTRODUCTION}\n{}\n\n## The gateway\n\n\
             | load | pairs | CPU a request without, µs | with, µs | ratio | budget |\n|---|---|---|---|---|---|\n{}\n\
             ## Its answers\n\nMedians of the runs; the times until an answer are `wrk`'s.\n\n\
             | load | agent | requests a second | half within, ms | 99 % within, ms |\n|---|---|---|---|---|\n{}\n\
             ## The agent\n\n\
             Its last connections' requests may be cut off by `wrk`'s end: 16 a run may have a verdict more.\n\n\
             | load | % of a core | µs a verdict | MB resident | s to attach | failed answers | verdicts | records lost |\n|---|---|---|---|---|---|---|---|\n{}\n\
             ## The kernel programs\n\n\
             By the kernel's own count (`bpf_stats_enabled`), on the whole host: client, gateway and upstream\n\
             are all on it, and about half of the runs are the gateway's. The count is in it: two looks at the\n\
             clock for each run, some 60 ns on the virtual machine that the programs are built on, where one\n\
             that does nothing measures as much.\n\n\
             | load | program | runs a request | ns a run | ns a request |\n|---|---|---|---|---|\n{}",
            self.head, self.gateway, self.answers, self.agent, self.programs,
        );
        if !self.others.is_empty() {
            text += &format!(
                "\n## What people use instead\n\n\
                 Under the same loads, in the same pairs. None of them says why an answer failed.\n\n\
                 | load | tool | ratio of nginx's CPU a request | its own cores |\n|---|---|---|---|\n{}",
                self.others
            );
        }
        text
    }
}

/// The median of some values, the least and the most.
fn spread(values: impl Iterator<Item = f64>) -> String {
    let values: Vec<f64> = values.collect();
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    let middle = median(values.into_iter());
    format!("{middle:.2} ({least:.2} to {most:.2})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_median_first() {
        assert_eq!(spread([3.0, 1.0, 2.0].into_iter()), "2.00 (1.00 to 3.00)");
    }
}
