//! Tests that cannot run here say so, with a number and a reason; nothing is skipped in silence.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Writes past the test runner's capture, which swallows what passing tests print.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Counts and tells a skip.
///
/// # Panics
/// Where `PROBE502_NO_SKIPS` is set: there, a skip is a failure.
pub fn skip(reason: &str) {
    let number = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let thread = std::thread::current();
    say(&format!(
        "skipped #{number}  {}: {reason}",
        thread.name().unwrap_or("a test")
    ));
    assert!(
        std::env::var_os("PROBE502_NO_SKIPS").is_none(),
        "PROBE502_NO_SKIPS forbids: {reason}"
    );
}

/// Whether this process is root: reading kernel events needs it.
#[must_use]
pub fn root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Skips what watches a live kernel where that is impossible.
#[must_use]
pub fn unable() -> bool {
    if !root() {
        skip("needs root; run it as `sudo -E cargo test -p probe502-tests -- --test-threads=1`");
        return true;
    }
    if !std::path::Path::new("/usr/sbin/nginx").exists() {
        skip("needs /usr/sbin/nginx; `cargo xtask test` installs it");
        return true;
    }
    false
}
