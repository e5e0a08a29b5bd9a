//! What the daemon can be told, and by whom: a flag outdoes the environment, that the file, that the default.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Deserialize;

use super::file::{File, Said};
pub use super::flags::Flags;
use crate::filter::Filter;
use crate::kernel::{Options, SMALL_RING};
use crate::senses::Naming;
use crate::senses::proc::Arguments;

/// Loopback: what the agent tells is for its own host until its operator says otherwise.
const LISTEN: &str = "127.0.0.1:9502";
/// A page of history a minute for a month, on a host with few failures.
const HISTORY_MB: u64 = 256;
/// As long as an incident review looks back.
const HISTORY_DAYS: u64 = 30;
/// Names of upstreams in metrics: product.md's bound.
const UPSTREAMS: u64 = 200;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line.
    Flag,
    /// In the variable of this setting.
    Environment(&'static str),
    /// In this file.
    File(PathBuf),
    /// Nobody said otherwise.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => out.write_str("flag"),
            Self::Environment(name) => {
                write!(out, "environment PROBE502_{}", name.to_uppercase())
            }
            Self::File(path) => write!(out, "file {}", path.display()),
            Self::Default => out.write_str("default"),
        }
    }
}

/// How much the log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// What the agent cannot do.
    Error,
    /// What is degraded.
    Warn,
    /// Starts, stops, reloads.
    Info,
    /// Each verdict too.
    Debug,
}

/// A value, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<T> {
    /// What holds.
    pub value: T,
    /// Who said so.
    pub origin: Origin,
}

/// All that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented as flags")]
pub struct Settings {
    pub listen: Set<SocketAddr>,
    pub history: Set<Option<PathBuf>>,
    pub history_mb: Set<u64>,
    pub history_days: Set<u64>,
    pub status: Set<Vec<u16>>,
    pub silent: Set<bool>,
    pub port: Set<Vec<u16>>,
    pub process: Set<Vec<String>>,
    pub upstreams: Set<u64>,
    pub arguments: Set<bool>,
    pub kubernetes: Set<bool>,
    pub ring_bytes: Set<u32>,
    pub strict: Set<bool>,
    pub log: Set<Level>,
}

/// Who said what on the command line, and what the file says.
struct Sources<'a> {
    matches: &'a ArgMatches,
    file: Option<&'a File>,
}

impl Sources<'_> {
    /// The first of them that says it.
    fn pick<T: Clone>(
        &self,
        name: &'static str,
        flag: Option<&T>,
        of_file: impl Fn(&Said) -> Option<T>,
        default: T,
    ) -> Set<T> {
        if let Some(value) = flag {
            let origin = match self.matches.value_source(name) {
                Some(ValueSource::EnvVariable) => Origin::Environment(name),
                _ => Origin::Flag,
            };
            let value = value.clone();
            return Set { value, origin };
        }
        let said = self
            .file
            .and_then(|file| Some((file, of_file(&file.said)?)));
        match said {
            Some((file, value)) => Set {
                value,
                origin: Origin::File(file.path.clone()),
            },
            None => Set {
                value: default,
                origin: Origin::Default,
            },
        }
    }
}

impl Settings {
    /// What holds, with what the file says now. `matches` are those that `flags` came from.
    pub fn gather(flags: &Flags, matches: &ArgMatches) -> anyhow::Result<Self> {
        let file = File::read(flags.config.as_deref())?;
        Self::of(flags, matches, file.as_ref())
    }

    fn of(flags: &Flags, matches: &ArgMatches, file: Option<&File>) -> anyhow::Result<Self> {
        let from = Sources { matches, file };
        let history = flags.history.clone().map(Some);
        let said_history = |said: &Said| said.history.clone().map(Some);
        let (port, process) = (flags.port.as_ref(), flags.process.as_ref());
        let (megabytes, days) = (flags.history_mb.as_ref(), flags.history_days.as_ref());
        let (names, status) = (flags.upstreams.as_ref(), flags.status.as_ref());
        let (listen, silent) = (flags.listen.as_ref(), flags.silent.as_ref());
        let (arguments, kubernetes) = (flags.arguments.as_ref(), flags.kubernetes.as_ref());
        Ok(Self {
            listen: from.pick("listen", listen, |said| said.listen, LISTEN.parse()?),
            history: from.pick("history", history.as_ref(), said_history, None),
            history_mb: from.pick("history_mb", megabytes, |said| said.history_mb, HISTORY_MB),
            history_days: from.pick("history_days", days, |said| said.history_days, HISTORY_DAYS),
            status: from.pick("status", status, |said| said.status.clone(), vec![502]),
            silent: from.pick("silent", silent, |said| said.silent, false),
            port: from.pick("port", port, |said| said.port.clone(), Vec::new()),
            process: from.pick("process", process, |said| said.process.clone(), Vec::new()),
            upstreams: from.pick("upstreams", names, |said| said.upstreams, UPSTREAMS),
            arguments: from.pick("arguments", arguments, |said| said.arguments, false),
            kubernetes: from.pick("kubernetes", kubernetes, |said| said.kubernetes, false),
            ring_bytes: from.pick(
                "ring_bytes",
                flags.ring_bytes.as_ref(),
                |said| said.ring_bytes,
                SMALL_RING,
            ),
            strict: from.pick("strict", flags.strict.as_ref(), |said| said.strict, false),
            log: from.pick("log", flags.log.as_ref(), |said| said.log, Level::Info),
        })
    }

    /// What the kernel's side is to watch.
    pub fn options(&self) -> Options {
        Options {
            statuses: self.status.value.clone(),
            silent: self.silent.value,
            ring_bytes: self.ring_bytes.value,
            ..Options::default()
        }
    }

    /// How processes are named.
    pub fn naming(&self) -> Naming {
        Naming {
            arguments: Arguments::shown(self.arguments.value),
            kubernetes: self.kubernetes.value,
        }
    }

    /// Which verdicts count.
    pub fn filter(&self) -> Filter {
        Filter {
            ports: self.port.value.clone(),
            silent: self.silent.value,
            processes: self.process.value.clone(),
            ..Filter::default()
        }
    }

    /// Each setting as the file would say it, and where it came from.
    pub fn rows(&self) -> Vec<(&'static str, String, &Origin)> {
        let text = |value: &dyn fmt::Display| format!("\"{value}\"");
        let history = match &self.history.value {
            Some(path) => text(&path.display()),
            None => String::new(),
        };
        let level = match self.log.value {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        };
        let list = |value: &dyn fmt::Debug| format!("{value:?}");
        vec![
            ("listen", text(&self.listen.value), &self.listen.origin),
            ("history", history, &self.history.origin),
            plainly("history_mb", &self.history_mb),
            plainly("history_days", &self.history_days),
            ("status", list(&self.status.value), &self.status.origin),
            plainly("silent", &self.silent),
            ("port", list(&self.port.value), &self.port.origin),
            ("process", list(&self.process.value), &self.process.origin),
            plainly("upstreams", &self.upstreams),
            plainly("arguments", &self.arguments),
            plainly("kubernetes", &self.kubernetes),
            plainly("ring_bytes", &self.ring_bytes),
            plainly("strict", &self.strict),
            ("log", text(&level), &self.log.origin),
        ]
    }

    /// What differs in another, of that which only a new start can change.
    pub fn fixed_that_differ(&self, other: &Self) -> Vec<&'static str> {
        let differs = [
            ("history", self.history.value != other.history.value),
            ("status", self.status.value != other.status.value),
            ("silent", self.silent.value != other.silent.value),
            ("arguments", self.arguments.value != other.arguments.value),
            (
                "kubernetes",
                self.kubernetes.value != other.kubernetes.value,
            ),
            (
                "ring_bytes",
                self.ring_bytes.value != other.ring_bytes.value,
            ),
            ("strict", self.strict.value != other.strict.value),
        ];
        differs
            .into_iter()
            .filter_map(|(name, differs)| differs.then_some(name))
            .collect()
    }
}

/// A setting that the file says as it is shown.
fn plainly<'a, T: fmt::Display>(
    name: &'static str,
    set: &'a Set<T>,
) -> (&'static str, String, &'a Origin) {
    (name, set.value.to_string(), &set.origin)
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn gather(line: &[&str], file: &str) -> Settings {
        let matches = Flags::augment_args(Command::new("agent").no_binary_name(true))
            .try_get_matches_from(line)
            .expect("valid");
        let flags = Flags::from_arg_matches(&matches).expect("valid");
        let file = File::parse("config.toml".into(), file).expect("valid");
        Settings::of(&flags, &matches, Some(&file)).expect("valid")
    }

    #[test]
    fn a_flag_outdoes_the_file_and_that_the_default() {
        let held = gather(
            &["--history-days", "7"],
            "history_days = 90\nupstreams = 50\n",
        );
        assert_eq!(
            (held.history_days.value, &held.history_days.origin),
            (7, &Origin::Flag)
        );
        assert_eq!(
            (held.upstreams.value, &held.upstreams.origin),
            (50, &Origin::File("config.toml".into()))
        );
        assert_eq!(
            (held.history_mb.value, &held.history_mb.origin),
            (256, &Origin::Default)
        );
    }

    #[test]
    fn what_is_shown_is_what_a_file_may_say() {
        let held = gather(
            &[
                "--history",
                "h.db",
                "--process",
                "nginx",
                "--ring-bytes",
                "65536",
            ],
            "",
        );
        let shown: String = held
            .rows()
            .iter()
            .map(|(name, value, _)| format!("{name} = {value}\n"))
            .collect();
        let again = gather(&[], &shown);
        let values = |of: &Settings| {
            let rows = of.rows();
            rows.into_iter()
                .map(|(name, value, _)| (name, value))
                .collect::<Vec<_>>()
        };
        assert_eq!(values(&again), values(&held));
    }

    #[test]
    fn only_a_new_start_changes_what_the_kernel_watches() {
        let (old, new) = (
            gather(&[], ""),
            gather(&[], "status = [502, 503]\nport = [80]\nring_bytes = 4096"),
        );
        assert_eq!(old.fixed_that_differ(&new), ["status", "ring_bytes"]);
    }
}
