//! The wall clock, read where the senses begin.

use std::time::SystemTime;

/// `CLOCK_REALTIME`, nanoseconds since 1970.
pub fn wall() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
