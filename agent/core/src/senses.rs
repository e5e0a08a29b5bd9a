//! What the senses say of themselves: that they began, and what they lost.

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;

/// Records that were lost, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// `ring` (full), `decode` (not understood), `log` (kernel log overrun).
    pub stage: String,
    /// How many.
    pub count: u64,
    /// Since when, where that is known: the reader may have been held up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_at: Option<Timestamp>,
}

/// The senses began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attached {
    /// `CLOCK_REALTIME` at this event's `at`, nanoseconds since 1970.
    pub wall: u64,
    /// Names of the hooks that could not be attached.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Flows say what their thread had let go of before (`Flow::before`).
    #[serde(default)]
    pub ordered: bool,
}
