//! The numbers as text: medians, spread, and the budget beside each.

use std::fmt::Write;

use super::agent::Cost;
use super::load::{Load, Sample};
use super::programs::Costs;

/// A run without the agent and a run with it, one right after the other.
pub struct Pair {
    pub without: Sample,
    pub with: Sample,
    pub cost: Cost,
}

impl Pair {
    pub fn ratio(&self) -> f64 {
        self.with.nanos_each() / self.without.nanos_each()
    }
}

/// What the gateway's CPU may be at most, as a multiple of what it is without the agent.
pub const fn budget(load: Load) -> &'static str {
    match load {
        Load::Good => "1.01",
        Load::Refused | Load::Reset | Load::Closed => "1.03",
        Load::Mixed => "none",
    }
}

/// One load's part of the report.
pub fn text(load: Load, pairs: &[Pair], costs: &Costs) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = gateway(&mut out, load, pairs).and_then(|()| agent(&mut out, load, pairs));
    let _ = programs(&mut out, load, costs);
    out
}

fn gateway(out: &mut String, load: Load, pairs: &[Pair]) -> std::fmt::Result {
    let budget = budget(load);
    let each =
        |side: fn(&Pair) -> &Sample| median(pairs.iter().map(|pair| side(pair).nanos_each()));
    let rate = median(pairs.iter().map(|pair| pair.with.rate()));
    let ratios: Vec<f64> = pairs.iter().map(Pair::ratio).collect();
    let (least, most) = (
        ratios.iter().copied().fold(f64::MAX, f64::min),
        ratios.iter().copied().fold(0.0, f64::max),
    );
    writeln!(
        out,
        "\n{load}, {rate:.0} requests a second, {} pairs",
        pairs.len()
    )?;
    writeln!(
        out,
        "  nginx CPU a request   {:.2} µs without, {:.2} µs with: ratio {:.3} (pairs {least:.3} to {most:.3}; budget {budget})",
        each(|pair| &pair.without) / 1e3,
        each(|pair| &pair.with) / 1e3,
        median(ratios.into_iter()),
    )?;
    // What the machine does by itself: a ratio within this spread says nothing.
    let without: Vec<f64> = pairs
        .iter()
        .map(|pair| pair.without.nanos_each() / 1e3)
        .collect();
    let least = without.iter().copied().fold(f64::MAX, f64::min);
    let most = without.iter().copied().fold(0.0, f64::max);
    writeln!(out, "  spread without it     {least:.2} to {most:.2} µs")
}

fn agent(out: &mut String, load: Load, pairs: &[Pair]) -> std::fmt::Result {
    let share = median(pairs.iter().map(|pair| {
        100.0 * pair.cost.cpu.as_secs_f64() / pair.cost.took.as_secs_f64().max(f64::EPSILON)
    }));
    let most = |bytes: fn(&Cost) -> u64| {
        pairs
            .iter()
            .map(|pair| bytes(&pair.cost))
            .max()
            .unwrap_or(0) as f64
            / 1e6
    };
    let verdicts: u64 = pairs.iter().map(|pair| pair.cost.verdicts).sum();
    let lost: u64 = pairs.iter().map(|pair| pair.cost.lost).sum();
    let failed: u64 = pairs.iter().map(|pair| pair.with.failed).sum();
    match load {
        Load::Good => writeln!(
            out,
            "  agent CPU             {share:.3} % of a core (budget 0.2 % at 10,000 a second)"
        )?,
        Load::Refused | Load::Reset | Load::Closed | Load::Mixed => {
            let each =
                median(pairs.iter().map(|pair| {
                    pair.cost.cpu.as_secs_f64() * 1e6 / pair.cost.verdicts.max(1) as f64
                }));
            writeln!(
                out,
                "  agent CPU             {each:.2} µs a verdict (budget 20), {share:.1} % of a core"
            )?;
        }
    }
    writeln!(
        out,
        "  agent memory          {:.1} MB resident under load (budget 15), {:.1} MB at most, start included",
        most(|cost| cost.memory),
        most(|cost| cost.peak),
    )?;
    writeln!(
        out,
        "  verdicts              {verdicts} for {failed} failing requests, {lost} records lost (budget: as many, 0; wrk's end may cut off 16 a run before their answer)"
    )
}

/// The kernel counts by program, not by process: client and upstream are in it.
fn programs(out: &mut String, load: Load, costs: &Costs) -> std::fmt::Result {
    let requests = costs.requests.max(1) as f64;
    let mut ran: Vec<_> = costs
        .programs
        .iter()
        .filter(|program| program.runs > 0)
        .collect();
    ran.sort_by_key(|program| std::cmp::Reverse(program.nanos));
    let total: u64 = ran.iter().map(|program| program.nanos).sum();
    let budget = match load {
        Load::Good => " (budget 500 ns on the gateway's side alone)",
        Load::Refused | Load::Reset | Load::Closed | Load::Mixed => "",
    };
    writeln!(
        out,
        "  in our programs       {:.0} ns a request, client and upstream included{budget}",
        total as f64 / requests
    )?;
    for program in ran {
        let (runs, nanos) = (program.runs as f64, program.nanos as f64);
        let (each, often) = (nanos / runs, runs / requests);
        writeln!(
            out,
            "    {:<24} {each:>7.0} ns a run  {often:>8.3} runs a request  {:>7.1} ns a request",
            program.name,
            nanos / requests
        )?;
    }
    Ok(())
}

/// Of no values, not a number: there was no pair.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::programs::Program;
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        assert!((median([4.0, 1.0, 2.0, 3.0].into_iter()) - 2.5).abs() < 1e-9);
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn the_report_has_the_ratio_and_what_each_program_costs() {
        let sample = |micros| Sample {
            requests: 1000,
            cpu: Duration::from_micros(micros),
            took: Duration::from_secs(1),
            failed: 0,
            half: 1.0,
            most: 2.0,
        };
        let pairs = [Pair {
            without: sample(20_000),
            with: sample(20_200),
            cost: Cost::default(),
        }];
        let programs = vec![Program {
            name: "sent".into(),
            runs: 4000,
            nanos: 400_000,
        }];
        let said = text(
            Load::Good,
            &pairs,
            &Costs {
                programs,
                requests: 1000,
            },
        );
        assert!(
            said.contains("20.00 µs without, 20.20 µs with: ratio 1.010"),
            "{said}"
        );
        assert!(
            said.contains("100 ns a run     4.000 runs a request    400.0 ns a request"),
            "{said}"
        );
    }
}
