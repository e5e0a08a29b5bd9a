//! The file itself: its tables, its bounds, and what is done where the disk is full or the file broken.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, ffi, params};

use super::{Row, VERSION};

/// Kept free beside the history: a full disk must leave room to delete, for deleting writes too.
/// More than the log can have become when the disk is full.
const RESERVE: u64 = 2 << 20;
/// The write-ahead log goes into the file when it has so many pages of 4 KiB,
const LOG_PAGES: u32 = 256;
/// and shrinks back to this.
const LOG_BYTES: u32 = 1 << 20;
/// What is written is seldom read again: SQLite would keep eight times as much of it.
const CACHE_KIB: i64 = 256;
/// One transaction deletes so many at most: a larger one would not fit into the reserve.
const AT_ONCE: u64 = 1000;
/// Of a full history so much leaves at once, so that it is not full again with the next verdict.
const SHARE: u64 = 10;
/// A reader that holds the lock is over within this.
const PATIENCE: Duration = Duration::from_secs(2);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS verdicts (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        time TEXT NOT NULL,
        status INTEGER NOT NULL,
        cause TEXT NOT NULL,
        upstream TEXT,
        gateway TEXT NOT NULL,
        json TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS by_time ON verdicts (time);
    CREATE INDEX IF NOT EXISTS by_cause ON verdicts (cause, time);
";

/// What kept a batch from being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No room on the disk.
    Full,
    /// The file is no history any more.
    Broken,
    /// Anything else: a lock, a read-only file system.
    Other,
}

/// Why a write failed.
pub fn trouble(error: &rusqlite::Error) -> Trouble {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Trouble::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Trouble::Broken,
        // Shared memory that cannot grow is an input or output error to SQLite.
        Some(ErrorCode::SystemIoFailure) if extended(error) == ffi::SQLITE_IOERR_SHMSIZE => {
            Trouble::Full
        }
        _ => Trouble::Other,
    }
}

fn extended(error: &rusqlite::Error) -> i32 {
    error.sqlite_error().map_or(0, |error| error.extended_code)
}

/// An open history.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    database: Connection,
}

impl Store {
    /// Opens the history, and makes it where there is none.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        private(path);
        let database = Connection::open(path)?;
        database.busy_timeout(PATIENCE)?;
        database.pragma_update(None, "journal_mode", "wal")?;
        database.pragma_update(None, "synchronous", "normal")?;
        database.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
        database.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        database.pragma_update(None, "cache_size", -CACHE_KIB)?;
        let version: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version != 0 && version != VERSION {
            let why = format!("it is of version {version}, this probe502 writes {VERSION}");
            let code = ffi::Error::new(ffi::SQLITE_NOTADB);
            return Err(rusqlite::Error::SqliteFailure(code, Some(why)));
        }
        database.execute_batch(TABLES)?;
        if version == 0 {
            database.pragma_update(None, "user_version", VERSION)?;
        }
        let store = Self {
            path: path.to_owned(),
            database,
        };
        // What cannot be reserved is no reason not to write: the disk may be full already.
        _ = store.reserve();
        Ok(store)
    }

    /// Moves a broken file and its companions aside; says where to.
    pub fn move_aside(path: &Path, stamp: &str) -> io::Result<PathBuf> {
        let aside = beside(path, &format!(".broken-{stamp}"));
        fs::rename(path, &aside)?;
        for companion in ["-wal", "-shm"] {
            _ = fs::rename(beside(path, companion), beside(&aside, companion));
        }
        Ok(aside)
    }

    /// Writes a batch, whole or not at all.
    pub fn write(&mut self, rows: &[Row]) -> rusqlite::Result<()> {
        let batch = self.database.transaction()?;
        {
            let mut insert = batch.prepare_cached(
                "INSERT OR IGNORE INTO verdicts (id, time, status, cause, upstream, gateway, json)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?;
            for row in rows {
                insert.execute(params![
                    row.id,
                    row.time,
                    row.status,
                    row.cause,
                    row.upstream,
                    row.gateway,
                    row.json
                ])?;
            }
        }
        batch.commit()
    }

    /// Deletes what is older than this moment (RFC 3339); says how many.
    pub fn expire(&mut self, before: &str) -> rusqlite::Result<usize> {
        self.database
            .execute("DELETE FROM verdicts WHERE time < ?", [before])
    }

    /// Deletes the oldest until the file is no larger than it may be; says how many.
    pub fn fit(&mut self, bytes: u64) -> rusqlite::Result<usize> {
        let mut dropped = 0;
        while self.used()? > bytes {
            match self.drop_oldest()? {
                0 => break,
                more => dropped += more,
            }
        }
        Ok(dropped)
    }

    /// Makes room on a full disk, by what was kept free for it; says how many verdicts left. They only
    /// leave where the file has few free pages: what is short else is room for the log alone.
    pub fn make_room(&mut self) -> rusqlite::Result<usize> {
        _ = fs::remove_file(self.spare());
        // What is in the log takes its place in the file, before deleting writes to the log.
        self.empty_log()?;
        if self.ask("freelist_count")? >= self.ask("page_count")? / SHARE {
            return Ok(0);
        }
        let dropped = self.drop_oldest()?;
        self.empty_log()?;
        Ok(dropped)
    }

    fn empty_log(&self) -> rusqlite::Result<()> {
        self.database
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// Bytes in use: pages that were freed are used again before the file grows.
    fn used(&self) -> rusqlite::Result<u64> {
        let pages = self.ask("page_count")?;
        let pages = pages.saturating_sub(self.ask("freelist_count")?);
        Ok(pages * self.ask("page_size")?)
    }

    fn ask(&self, name: &str) -> rusqlite::Result<u64> {
        let number: i64 = self
            .database
            .pragma_query_value(None, name, |row| row.get(0))?;
        Ok(number.unsigned_abs())
    }

    fn drop_oldest(&mut self) -> rusqlite::Result<usize> {
        self.database.execute(
            "DELETE FROM verdicts WHERE number IN (
                 SELECT number FROM verdicts ORDER BY number
                 LIMIT (SELECT min(max(1, count(*) / ?), ?) FROM verdicts))",
            [SHARE.cast_signed(), AT_ONCE.cast_signed()],
        )
    }

    fn spare(&self) -> PathBuf {
        beside(&self.path, "-spare")
    }

    /// Zeros, written and not just promised: a hole takes no room that could be given back.
    pub fn reserve(&self) -> io::Result<()> {
        let spare = self.spare();
        if fs::metadata(&spare).is_ok_and(|spare| spare.len() == RESERVE) {
            return Ok(());
        }
        let size = usize::try_from(RESERVE).unwrap_or_default();
        let written = fs::write(&spare, vec![0; size]);
        if written.is_err() {
            _ = fs::remove_file(&spare);
        }
        written
    }
}

/// Makes the file, where there is none, for its owner and group alone: it holds clients and paths. Its
/// companions take after it. Whoever cannot make it is told by what opens it.
fn private(path: &Path) {
    _ = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path);
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::example::row;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("history.db")).expect("opened");
        (folder, store)
    }

    fn fill(store: &mut Store, numbers: std::ops::Range<usize>, time: &str) {
        let rows: Vec<Row> = numbers.map(|number| row(number, time)).collect();
        store.write(&rows).expect("written");
    }

    fn ids(store: &Store) -> Vec<String> {
        let mut all = store
            .database
            .prepare("SELECT id FROM verdicts ORDER BY number")
            .expect("prepared");
        let ids = all.query_map([], |row| row.get(0)).expect("read");
        ids.collect::<Result<_, _>>().expect("ids")
    }

    #[test]
    fn what_is_older_than_the_moment_leaves() {
        let (_folder, mut store) = store();
        fill(&mut store, 0..3, "2026-10-21T23:59:59.999999Z");
        fill(&mut store, 3..5, "2026-10-22T00:00:00.000000Z");
        let moment = "2026-10-22T00:00:00.000000Z";
        assert_eq!(store.expire(moment).expect("expired"), 3);
        assert_eq!(ids(&store), ["3-1", "4-1"]);
        assert_eq!(store.expire(moment).expect("expired"), 0);
    }

    #[test]
    fn the_oldest_leave_until_the_rest_fits_and_their_room_is_used_again() {
        let (_folder, mut store) = store();
        let (bound, time) = (1 << 20, "2026-10-22T00:00:00.000000Z");
        fill(&mut store, 0..400, time);
        assert_eq!(store.fit(bound).expect("fitted"), 0, "it fits");
        for round in 1..=10 {
            fill(&mut store, round * 400..(round + 1) * 400, time);
            let dropped = store.fit(bound).expect("fitted");
            assert!(dropped > 0 && store.used().expect("asked") <= bound);
            let there = ids(&store);
            assert_eq!(
                there.last(),
                Some(&format!("{:x}-1", (round + 1) * 400 - 1))
            );
            assert!(there.len() > 300, "{} are left", there.len());
            store.empty_log().expect("emptied");
            let size = fs::metadata(&store.path).expect("a file").len();
            // The bound, and what came since it was last held to it.
            assert!(size < 3 * bound, "{size} after {round} rounds");
        }
    }

    #[test]
    fn a_bound_that_nothing_fits_ends() {
        let (_folder, mut store) = store();
        fill(&mut store, 0..10, "2026-10-22T00:00:00.000000Z");
        assert_eq!(store.fit(0).expect("fitted"), 10);
        assert!(ids(&store).is_empty());
    }
}
