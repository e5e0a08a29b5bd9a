//! The command line: flags are parsed here and given meaning in `commands`.

use std::time::Duration;

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use probe502_core::cause::Cause;

use crate::commands::{
    agent, completions, config, demo, doctor, explain, history, man, record, replay, watch,
};
use crate::demo::{gateway, upstream};
use crate::filter::Filter;
use crate::kernel::{Options, RING, ring_of};
use crate::senses::Naming;
use crate::senses::proc::Arguments;

/// Names the network-level cause of each HTTP 502 that a gateway on this host answers, with proof
/// and remedy.
#[derive(Debug, Parser)]
#[command(name = "probe502", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

/// The command line, and where each of its values came from; ends the process where it is wrong.
pub fn parse() -> (Cli, ArgMatches) {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    (cli, matches)
}

const EXIT_CODES: &str = "Exit codes: 0 fine, 1 runtime error, 2 usage, 3 blocked (no privilege, \
                          no BTF, kernel too old), 4 doctor: degraded, 5 not found";

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Watch(watch::Arguments),
    Agent(agent::Arguments),
    History(history::Arguments),
    Config(config::Arguments),
    Doctor(doctor::Arguments),
    Explain(explain::Arguments),
    Record(record::Arguments),
    Replay(replay::Arguments),
    Demo(demo::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
    #[command(hide = true)]
    DemoGateway(gateway::Arguments),
    #[command(hide = true)]
    DemoUpstream(upstream::Arguments),
}

/// What the senses look at.
#[derive(Debug, Args)]
pub struct Sensing {
    /// Status codes to watch, separated by commas
    #[arg(long, value_name = "CODE", value_delimiter = ',', default_value = "502",
          value_parser = clap::value_parser!(u16).range(400..600))]
    pub status: Vec<u16>,
    /// Tell failures without a status too: connections closed empty, answers that break in the
    /// middle
    #[arg(long)]
    pub silent: bool,
    /// Stop after this many seconds
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Show processes with the arguments of their command lines: passwords may be among them
    #[arg(long, env = "PROBE502_ARGUMENTS")]
    pub arguments: bool,
    /// Name pods, workloads and containers of this node as the Kubernetes API server does; the node is
    /// NODE_NAME's, else this host's
    #[arg(long, env = "PROBE502_KUBERNETES")]
    pub kubernetes: bool,
    /// See answers leave by cgroup_skb/egress even where the kernel has tcp_sendmsg_locked
    #[arg(long)]
    pub force_egress: bool,
    /// Room for records between two reads: a power of two, a page at least; two times as much
    /// memory is resident once it was full. Too small, records are lost, and verdicts are unknown
    #[arg(long, value_name = "BYTES", env = "PROBE502_RING_BYTES", default_value_t = RING,
          value_parser = ring)]
    pub ring_bytes: u32,
}

impl Sensing {
    /// The same for the kernel side.
    pub fn options(&self) -> Options {
        Options {
            statuses: self.status.clone(),
            silent: self.silent,
            force_egress: self.force_egress,
            ring_bytes: self.ring_bytes,
        }
    }

    /// How processes are named.
    pub fn naming(&self) -> Naming {
        Naming {
            arguments: Arguments::shown(self.arguments),
            kubernetes: self.kubernetes,
        }
    }
}

/// Which verdicts to tell.
#[derive(Debug, Args)]
pub struct Choice {
    /// Only gateways that listen on this port, or upstreams on it
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    pub port: Vec<u16>,
    /// Only where the gateway's or the upstream's process or script has this name
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub process: Vec<String>,
    /// Only this cause, or every cause below it: process.oom, keepalive.race
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = causes)]
    pub cause: Vec<Causes>,
}

impl Choice {
    /// The same as a filter.
    pub fn filter(&self) -> Filter {
        Filter {
            ports: self.port.clone(),
            statuses: Vec::new(),
            silent: false,
            processes: self.process.clone(),
            causes: self
                .cause
                .iter()
                .flat_map(|Causes(causes)| causes)
                .copied()
                .collect(),
        }
    }
}

/// What to tell besides verdicts.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Besides {
    /// Tell upstream failures that no client had a failed answer for, as a line each; they are
    /// counted at the end in any case
    #[arg(long)]
    pub near_misses: bool,
    /// Tell restarts that failed nobody too; with `-o json`, tell restarts and warnings as JSON
    /// objects of their own schemas, which else go to stderr as text
    #[arg(long)]
    pub stories: bool,
}

/// A cause, or all below a level of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Causes(pub Vec<Cause>);

/// A cause by its id, or all below a level.
pub fn causes(text: &str) -> Result<Causes, String> {
    let below = format!("{text}.");
    let named = |cause: &Cause| cause.id() == text || cause.id().starts_with(&below);
    let found: Vec<Cause> = Cause::ALL.iter().copied().filter(named).collect();
    if found.is_empty() {
        return Err("no such cause; `probe502 explain` lists them".to_owned());
    }
    Ok(Causes(found))
}

/// What a ring buffer of the kernel may be.
pub fn ring(text: &str) -> Result<u32, String> {
    let bytes: u32 = text.parse().map_err(|error| format!("{error}"))?;
    ring_of(bytes)
}

/// A span in seconds, with a fraction or without.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_may_be_a_level() {
        assert_eq!(
            causes("process.oom"),
            Ok(Causes(vec![
                Cause::OomCgroup,
                Cause::OomHost,
                Cause::OomUserspace
            ]))
        );
        assert_eq!(
            causes("keepalive.race"),
            Ok(Causes(vec![Cause::KeepaliveRace]))
        );
        assert!(causes("process.o").is_err());
    }

    #[test]
    fn bad_values_are_refused() {
        for line in [
            &["watch", "--port", "70000"][..],
            &["watch", "--status", "200"],
            &["watch", "--timeout", "-1"],
            &["watch", "--cause", "nothing"],
            &["watch", "--max", "x"],
            &["watch", "--ring-bytes", "5000"],
            &["watch", "--ring-bytes", "256"],
            &["record"],
            &["nothing"],
        ] {
            let parsed = Cli::try_parse_from([&["probe502"], line].concat());
            assert_eq!(parsed.expect_err("refused").exit_code(), 2, "{line:?}");
        }
    }

    #[test]
    fn statuses_are_a_list() {
        let cli = Cli::try_parse_from(["probe502", "watch", "--status", "502,503"]).expect("valid");
        let Verb::Watch(arguments) = cli.verb else {
            panic!("not watch")
        };
        assert_eq!(arguments.sensing.status, [502, 503]);
    }
}
