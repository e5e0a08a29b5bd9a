//! `cargo xtask bench`: what the agent costs nginx, with and without in turns within one run.

mod agent;
mod cpu;
mod load;
mod nginx;
mod others;
mod page;
mod programs;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::{self, as_root, is_root};
use crate::{demo, packages, repository};
use load::{Load, Sample};
use nginx::Servers;
use report::Pair;

const PACKAGES: &[&str] = &["nginx", "wrk", "bpftool"];

/// As many pairs with each other tool, at most.
const OTHERS: u32 = 3;

#[derive(clap::Args)]
pub struct Arguments {
    /// Pairs of runs for each load; every second pair begins with the agent.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Seconds of each run.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Write the results to this file, as docs/performance.md is.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Measure this binary instead of building one.
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// Prints medians beside their budgets; it judges nothing.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let agent = match &arguments.agent {
        Some(agent) => agent
            .canonicalize()
            .with_context(|| agent.display().to_string())?,
        None => {
            process::run(&mut demo::agent_build())?;
            repository::agent()
        }
    };
    packages::install(PACKAGES)?;
    if !is_root() {
        return again_as_root(arguments, &agent);
    }
    ensure!(
        process::on_path("wrk"),
        "wrk is missing although its package is installed"
    );
    let servers = Servers::start()?;
    let duration = Duration::from_secs(arguments.seconds.into());
    let mut page = page::Page::new(&agent, arguments.seconds);
    for load in Load::ALL {
        load.run(&servers, Duration::from_secs(1))?;
        let mut pairs = Vec::new();
        for number in 0..arguments.pairs {
            pairs.push(pair(load, number, &servers, &agent, duration)?);
            eprintln!("{load}: pair {} of {}", number + 1, arguments.pairs);
        }
        let costs = programs::measure(load, &servers, &agent, duration)?;
        print!("{}", report::text(load, &pairs, &costs));
        page.add(load, &pairs, &costs);
        if matches!(load, Load::Good | Load::Refused) {
            let pairs = arguments.pairs.min(OTHERS);
            page.add_others(load, &others::measure(load, &servers, pairs, duration)?);
        }
    }
    if let Some(file) = &arguments.write {
        std::fs::write(file, page.text()).with_context(|| file.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The machine drifts (heat, neighbours, caches): the two sides take turns in going first.
fn pair(
    load: Load,
    number: u32,
    servers: &Servers,
    agent: &std::path::Path,
    duration: Duration,
) -> Result<Pair> {
    let with_agent = || -> Result<(Sample, agent::Cost)> {
        let watching = agent::Watching::start(agent, servers.gateway.port())?;
        let sample = load.run(servers, duration)?;
        Ok((sample, watching.stop()?))
    };
    if number.is_multiple_of(2) {
        let without = load.run(servers, duration)?;
        let (with, cost) = with_agent()?;
        Ok(Pair {
            without,
            with,
            cost,
        })
    } else {
        let (with, cost) = with_agent()?;
        Ok(Pair {
            without: load.run(servers, duration)?,
            with,
            cost,
        })
    }
}

fn again_as_root(arguments: &Arguments, agent: &std::path::Path) -> Result<ExitCode> {
    let mut again = as_root(std::env::current_exe()?);
    again.arg("bench").arg("--agent").arg(agent);
    again.args(["--pairs", &arguments.pairs.to_string()]);
    again.args(["--seconds", &arguments.seconds.to_string()]);
    if let Some(file) = &arguments.write {
        again.arg("--write").arg(file);
    }
    process::run(&mut again)?;
    Ok(ExitCode::SUCCESS)
}
