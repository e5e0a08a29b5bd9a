//! What the senses say of themselves: that they began, and what they lost.

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;

/// Records that were lost, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// `ring` (full), `memory` (none beside a socket), `hook` (bytes that none met), `decode` (not
    /// understood), `log` (kernel log overrun).
    pub stage: String,
    /// How many.
    pub count: u64,
    /// The kind of all of them, by the events' names, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Since when, where that is known: the reader may have been held up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_at: Option<Timestamp>,
}

/// What tells of processes and listeners explains failures minutes later; what tells of connections, only
/// those of that moment.
const LASTING: [&str; 7] = [
    "listens",
    "listened",
    "death",
    "signal",
    "victim",
    "unix-listener",
    "unix-dialler",
];

impl Lost {
    /// Whether some of them may tell of processes or listeners.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        let lasts = |kind: &String| LASTING.contains(&kind.as_str());
        self.kind.as_ref().is_none_or(lasts)
    }
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
