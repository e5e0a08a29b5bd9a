//! Verdicts on disk: an SQLite file that one agent writes and anyone may read meanwhile.

mod reader;
mod store;
mod writer;

pub use reader::{Reader, Search};
pub use writer::{Bounds, Writer};

use probe502_core::verdict::Verdict;

/// Where the packages keep it.
pub const PLACE: &str = "/var/lib/probe502/history.db";

/// The layout of the tables (`PRAGMA user_version`).
const VERSION: i64 = 1;

/// A verdict as it is kept: the columns that searches go by, and the whole as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    id: String,
    time: String,
    status: u16,
    cause: &'static str,
    upstream: Option<String>,
    gateway: String,
    json: String,
}

impl Row {
    /// What is kept of a verdict: everything.
    pub fn of(verdict: &Verdict) -> serde_json::Result<Self> {
        Ok(Self {
            id: verdict.id.clone(),
            time: verdict.time.clone(),
            status: verdict.status,
            cause: verdict.cause.id(),
            upstream: verdict
                .upstream
                .as_ref()
                .map(|upstream| upstream.addr.clone()),
            gateway: verdict.gateway.who.comm.clone(),
            json: serde_json::to_string(verdict)?,
        })
    }

    /// The whole.
    pub fn json(&self) -> &str {
        &self.json
    }
}
