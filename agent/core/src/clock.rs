//! Monotonic moments as dates, from one pair of clocks that were read together.

use crate::units::Timestamp;

const NANOS: u64 = 1_000_000_000;

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// `CLOCK_MONOTONIC`.
    pub at: Timestamp,
    /// `CLOCK_REALTIME` at that moment, nanoseconds since 1970.
    pub wall: u64,
}

impl Clock {
    /// RFC 3339, UTC, microseconds.
    #[must_use]
    pub fn date(self, moment: Timestamp) -> String {
        let wall = u128::from(self.wall) + u128::from(moment.0);
        let wall = u64::try_from(wall.saturating_sub(self.at.0.into())).unwrap_or(u64::MAX);
        let (seconds, micros) = (wall / NANOS, wall % NANOS / 1000);
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// Days since 1970 as a date of the Gregorian calendar: years begin in March, so that a leap day
/// is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates() {
        let clock = Clock {
            at: Timestamp(5 * NANOS),
            wall: 1_709_164_799 * NANOS,
        };
        assert_eq!(
            clock.date(Timestamp(5 * NANOS)),
            "2024-02-28T23:59:59.000000Z"
        );
        assert_eq!(
            clock.date(Timestamp(6 * NANOS + 1500)),
            "2024-02-29T00:00:00.000001Z"
        );
        assert_eq!(
            clock.date(Timestamp(4 * NANOS)),
            "2024-02-28T23:59:58.000000Z"
        );
        assert_eq!(
            Clock::default().date(Timestamp(0)),
            "1970-01-01T00:00:00.000000Z"
        );
    }
}
