//! The configuration file: TOML, in which every key is known.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Deserialize;

use super::settings::Level;
use crate::exit::Ending;
use crate::kernel::ring_of;

/// Where a file is looked for that nobody named.
pub const PLACE: &str = "/etc/probe502/config.toml";

/// Below this likeness (Jaro and Winkler's, 0 to 1) a suggestion would only confuse.
const ALIKE: f64 = 0.7;

/// Every key, with what it takes, for the published schema.
pub const KEYS: &[(&str, &str)] = &[
    ("listen", "string"),
    ("history", "string"),
    ("history_mb", "integer"),
    ("history_days", "integer"),
    ("status", "array"),
    ("silent", "boolean"),
    ("port", "array"),
    ("process", "array"),
    ("upstreams", "integer"),
    ("arguments", "boolean"),
    ("kubernetes", "boolean"),
    ("ring_bytes", "integer"),
    ("strict", "boolean"),
    ("log", "string"),
];

/// What a file says; each key means what the flag of its name does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented as flags")]
pub struct Said {
    pub listen: Option<SocketAddr>,
    pub history: Option<PathBuf>,
    pub history_mb: Option<u64>,
    pub history_days: Option<u64>,
    pub status: Option<Vec<u16>>,
    pub silent: Option<bool>,
    pub port: Option<Vec<u16>>,
    pub process: Option<Vec<String>>,
    pub upstreams: Option<u64>,
    pub arguments: Option<bool>,
    pub kubernetes: Option<bool>,
    pub ring_bytes: Option<u32>,
    pub strict: Option<bool>,
    pub log: Option<Level>,
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct File {
    /// Which.
    pub path: PathBuf,
    /// What it says.
    pub said: Said,
}

impl File {
    /// Reads the file that was named, else the one at its usual place where there is one.
    pub fn read(named: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let path = named.unwrap_or(Path::new(PLACE));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path.to_owned(), &text).map(Some),
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let problem = format!("cannot read {}: {error}", path.display());
                Err(Ending::Usage(problem).into())
            }
        }
    }

    /// Takes a text for a file's.
    pub fn parse(path: PathBuf, text: &str) -> anyhow::Result<Self> {
        let said = said(text).map_err(|error| {
            Ending::Usage(format!("{} is not understood: {error:#}", path.display()))
        })?;
        Ok(Self { path, said })
    }
}

fn said(text: &str) -> anyhow::Result<Said> {
    let table: toml::Table = text.parse().map_err(|error| anyhow!("{error}"))?;
    if let Some(unknown) = table.keys().find(|key| !is_known(key)) {
        return Err(anyhow!("{}", advice(unknown)));
    }
    let said: Said = toml::from_str(text).map_err(|error| anyhow!("{error}"))?;
    check(&said)?;
    Ok(said)
}

fn is_known(key: &str) -> bool {
    KEYS.iter().any(|(known, _)| *known == key)
}

fn advice(unknown: &str) -> String {
    let likeness = |key: &str| strsim::jaro_winkler(key, &unknown.to_lowercase().replace('-', "_"));
    let keys = || KEYS.iter().map(|(key, _)| *key);
    let best = keys().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match best.filter(|best| likeness(best) >= ALIKE) {
        Some(best) => format!("there is no key `{unknown}`; did you mean `{best}`?"),
        None => {
            let all: Vec<&str> = keys().collect();
            format!(
                "there is no key `{unknown}`; the keys are {}",
                all.join(", ")
            )
        }
    }
}

/// The same bounds as the flags have.
fn check(said: &Said) -> anyhow::Result<()> {
    let within = |name: &str, value: Option<u64>, most: u64| match value {
        Some(value) if value == 0 || value > most => {
            Err(anyhow!("`{name}` is {value}; it takes 1 to {most}"))
        }
        _ => Ok(()),
    };
    within("history_mb", said.history_mb, u64::MAX)?;
    within("history_days", said.history_days, 3650)?;
    within("upstreams", said.upstreams, 10_000)?;
    if let Some(bytes) = said.ring_bytes {
        ring_of(bytes).map_err(|error| anyhow!("`ring_bytes` is {bytes}; {error}"))?;
    }
    let mut status = said.status.iter().flatten();
    match status.find(|status| !(400..600).contains(*status)) {
        Some(status) => Err(anyhow!("`status` holds {status}; it takes 400 to 599")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let error = File::parse("c.toml".into(), text).expect_err("refused");
        format!("{error:#}")
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_right_one() {
        assert!(refused("histroy = \"x\"").ends_with("did you mean `history`?"));
        assert!(refused("history-mb = 3").ends_with("did you mean `history_mb`?"));
        assert!(refused("zzz = 3").contains("the keys are listen, history"));
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_place() {
        assert!(refused("listen = 9502").contains("line 1"));
        assert!(refused("status = [200]").contains("400 to 599"));
        assert!(refused("upstreams = 0").contains("1 to 10000"));
        assert!(refused("ring_bytes = 5000").contains("a power of two"));
        assert!(refused("log = \"loud\"").contains("loud"));
        assert!(refused("listen = ").contains("line 1"));
    }

    #[test]
    fn a_named_file_must_be_there() {
        let error = File::read(Some(Path::new("no/such/file.toml"))).expect_err("absent");
        assert!(format!("{error:#}").contains("cannot read no/such/file.toml"));
    }

    #[test]
    fn every_key_is_in_the_published_schema() {
        let schema = include_str!("../../../docs/config.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).expect("valid");
        let properties = schema["properties"].as_object().expect("an object");
        let published: Vec<(&str, &str)> = properties
            .iter()
            .map(|(key, of)| (key.as_str(), of["type"].as_str().unwrap_or_default()))
            .collect();
        assert_eq!(published, KEYS);
        assert_eq!(schema["additionalProperties"], false);
    }
}
