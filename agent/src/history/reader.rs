//! Reads what an agent stored, while it writes.

use std::path::Path;

use anyhow::{Context as _, bail};
use probe502_core::verdict::Verdict;
use rusqlite::{Connection, OpenFlags, Row, params_from_iter};

use super::VERSION;

/// Which verdicts to read; what is empty asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Not before this moment, RFC 3339.
    pub since: Option<String>,
    /// Ids of causes.
    pub causes: Vec<&'static str>,
    /// The upstream's address, unit, workload or pod, or a part of it.
    pub upstream: Option<String>,
    /// Status codes.
    pub status: Vec<u16>,
    /// The newest so many.
    pub limit: u32,
}

/// A stored verdict.
#[derive(Clone, Debug)]
pub struct Stored {
    /// As it was written.
    pub json: String,
}

impl Stored {
    /// The verdict itself.
    pub fn verdict(&self) -> anyhow::Result<Verdict> {
        serde_json::from_str(&self.json).context("a stored verdict is of another version")
    }
}

/// An open history.
#[derive(Debug)]
pub struct Reader {
    database: Connection,
}

impl Reader {
    /// Opens an existing history for reading.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            bail!(
                "there is no history at {}; `probe502 agent --history {}` keeps one",
                path.display(),
                path.display()
            );
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let unreadable = || format!("cannot read the history {}", path.display());
        let database = Connection::open_with_flags(path, flags).with_context(unreadable)?;
        let version: i64 = database
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .with_context(unreadable)?;
        if version != VERSION {
            bail!(
                "{} is of version {version}, this probe502 reads version {VERSION}",
                path.display()
            );
        }
        Ok(Self { database })
    }

    /// What was asked for, oldest first.
    pub fn search(&self, search: &Search) -> anyhow::Result<Vec<Stored>> {
        let (conditions, values) = conditions(search);
        let limit = search.limit;
        let text = format!(
            "SELECT json FROM (
                 SELECT number, json FROM verdicts {conditions} ORDER BY number DESC LIMIT {limit}
             ) ORDER BY number"
        );
        let mut query = self.database.prepare(&text)?;
        let found = query.query_map(params_from_iter(values), stored)?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// One verdict by its id, or by the beginning of it where that is enough.
    pub fn find(&self, id: &str) -> anyhow::Result<Option<Stored>> {
        let mut query = self
            .database
            .prepare("SELECT json FROM verdicts WHERE id >= ?1 AND id < ?1 || '~' LIMIT 2")?;
        let found = query.query_map([id], stored)?;
        let mut found: Vec<Stored> = found.collect::<rusqlite::Result<_>>()?;
        if found.len() > 1 {
            bail!("more than one event begins with {id}; give more of its id");
        }
        Ok(found.pop())
    }
}

fn stored(row: &Row) -> rusqlite::Result<Stored> {
    row.get(0).map(|json| Stored { json })
}

/// The words of the query, with a place for each value: what was typed is never a part of the words.
fn conditions(search: &Search) -> (String, Vec<String>) {
    let mut words = Vec::new();
    let mut values = Vec::new();
    let places = |count: usize| vec!["?"; count].join(", ");
    if let Some(since) = &search.since {
        words.push("time >= ?".to_owned());
        values.push(since.clone());
    }
    if !search.causes.is_empty() {
        words.push(format!("cause IN ({})", places(search.causes.len())));
        values.extend(search.causes.iter().map(|cause| (*cause).to_owned()));
    }
    if let Some(upstream) = &search.upstream {
        words.push("instr(upstream, ?) > 0".to_owned());
        values.push(upstream.clone());
    }
    if !search.status.is_empty() {
        words.push(format!(
            "CAST(status AS TEXT) IN ({})",
            places(search.status.len())
        ));
        values.extend(search.status.iter().map(u16::to_string));
    }
    let words = if words.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", words.join(" AND "))
    };
    (words, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Row;
    use crate::history::store::Store;
    use crate::output::example;

    fn kept(ids: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history.db");
        let mut store = Store::open(&path).expect("opened");
        let rows: Vec<Row> = ids
            .iter()
            .map(|id| {
                let mut verdict = example::verdict();
                (*id).clone_into(&mut verdict.id);
                Row::of(&verdict).expect("serializable")
            })
            .collect();
        store.write(&rows).expect("written");
        (folder, path)
    }

    #[test]
    fn what_was_stored_is_found_while_the_writer_lives() {
        let (_folder, path) = kept(&["a-1", "b-2"]);
        let reader = Reader::open(&path).expect("opened");
        let all = Search {
            limit: 10,
            ..Search::default()
        };
        let found = reader.search(&all).expect("read");
        let ids: Vec<String> = found
            .iter()
            .map(|stored| stored.verdict().expect("a verdict").id)
            .collect();
        assert_eq!(ids, ["a-1", "b-2"]);
        let one = reader.find("b-").expect("read").expect("found");
        assert_eq!(one.verdict().expect("a verdict").id, "b-2");
        assert!(reader.find("c").expect("read").is_none());
    }

    #[test]
    fn every_condition_holds() {
        let (_folder, path) = kept(&["a-1"]);
        let reader = Reader::open(&path).expect("opened");
        let count = |search: Search| reader.search(&search).expect("read").len();
        let all = Search {
            limit: 10,
            ..Search::default()
        };
        let of = |causes: &[&'static str], upstream: &str, status: u16| Search {
            causes: causes.to_vec(),
            upstream: Some(upstream.to_owned()),
            status: vec![status],
            ..all.clone()
        };
        assert_eq!(count(of(&["process.oom.cgroup"], "10.4.1.7", 502)), 1);
        assert_eq!(count(of(&["process.crash"], "10.4.1.7", 502)), 0);
        assert_eq!(count(of(&["process.oom.cgroup"], "' OR 1=1 --", 502)), 0);
        assert_eq!(count(of(&["process.oom.cgroup"], "10.4.1.7", 503)), 0);
        let later = Search {
            since: Some("2026-11-21T14:03:08.000000Z".into()),
            ..all.clone()
        };
        assert_eq!(count(later), 0);
    }

    #[test]
    fn a_history_that_is_not_there_is_said_with_how_to_get_one() {
        let error = Reader::open(Path::new("no/history.db")).expect_err("absent");
        assert!(error.to_string().contains("probe502 agent --history"));
    }
}
