//! What the thread does to the file, whose bounds and troubles come while it runs.

use std::fs;

use rusqlite::Connection;

use super::*;
use crate::history::example::row;

const WIDE: Bounds = Bounds {
    bytes: 1 << 30,
    days: 30,
};

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.db");
    (folder, path)
}

fn rows(numbers: std::ops::Range<usize>, time: &str) -> Vec<Row> {
    numbers.map(|number| row(number, time)).collect()
}

/// Writes these, and ends.
fn write(path: &Path, rows: Vec<Row>) {
    let writer = Writer::start(path.to_owned(), WIDE).expect("started");
    writer.keep(rows);
}

fn stored(path: &Path) -> u64 {
    let database = Connection::open(path).expect("opened");
    let count = database.query_row("SELECT count(*) FROM verdicts", [], |row| {
        row.get::<_, i64>(0)
    });
    count.expect("counted").unsigned_abs()
}

fn kept_aside(folder: &Path) -> usize {
    let files = fs::read_dir(folder).expect("a folder").flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with("history.db.broken-") && !name.ends_with('m'))
        .count()
}

/// The same size, and nothing of a database in it.
fn overwrite(path: &Path) {
    let size = fs::metadata(path).expect("a file").len();
    let noise = vec![b'Z'; usize::try_from(size).expect("a size")];
    fs::write(path, noise).expect("overwritten");
}

#[test]
fn other_bounds_hold_at_once_and_what_leaves_is_counted() {
    let (_folder, path) = folder();
    let old = clock::ago(Duration::from_secs(3 * DAY));
    write(
        &path,
        [
            rows(0..20, &old),
            rows(20..1020, &clock::ago(Duration::ZERO)),
        ]
        .concat(),
    );
    let bounds = |days, bytes| {
        let writer = Writer::start(path.clone(), WIDE).expect("started");
        writer.rebound(Bounds { bytes, days });
        let counts = Arc::clone(&writer.counts);
        drop(writer);
        counts.now()[2].1
    };
    assert_eq!((bounds(4, 1 << 30), stored(&path)), (0, 1020));
    assert_eq!((bounds(2, 1 << 30), stored(&path)), (20, 1000));
    let left = bounds(2, 1 << 20);
    assert!(left > 400 && stored(&path) == 1000 - left, "{left} left");
}

#[test]
fn a_file_that_breaks_while_it_is_open_is_kept_aside_and_newer_verdicts_are_kept() {
    let (folder, path) = folder();
    let now = clock::ago(Duration::ZERO);
    write(&path, rows(0..500, &now));
    let writer = Writer::start(path.clone(), WIDE).expect("started");
    overwrite(&path);
    writer.keep(rows(500..600, &now));
    drop(writer);
    assert_eq!((kept_aside(folder.path()), stored(&path)), (1, 100));
}

#[test]
fn a_file_that_cannot_be_shortened_for_it_is_broken_is_kept_aside_too() {
    let (folder, path) = folder();
    let old = clock::ago(Duration::from_secs(3 * DAY));
    write(&path, rows(0..500, &old));
    let writer = Writer::start(path.clone(), WIDE).expect("started");
    overwrite(&path);
    writer.rebound(Bounds { days: 1, ..WIDE });
    writer.keep(rows(500..510, &clock::ago(Duration::ZERO)));
    drop(writer);
    assert_eq!((kept_aside(folder.path()), stored(&path)), (1, 10));
}
