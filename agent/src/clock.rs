//! The wall clock, read where the senses begin.

use std::time::{Duration, SystemTime};

use probe502_core::clock::Clock;
use probe502_core::units::Timestamp;

/// `CLOCK_REALTIME`, nanoseconds since 1970.
pub fn wall() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A moment of the wall clock as verdicts write theirs: RFC 3339, UTC, microseconds.
pub fn date(wall: u64) -> String {
    let at = Timestamp::default();
    Clock { at, wall }.date(at)
}

/// So long ago.
pub fn ago(span: Duration) -> String {
    let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    date(wall().saturating_sub(span))
}
