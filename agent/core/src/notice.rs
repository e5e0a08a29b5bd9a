//! What is told besides verdicts, in its public JSON forms: near misses, warnings, deploys.

use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::verdict::{Attempt, Confidence, Fact, Idle, Request, Symptom, Upstream, Who};

/// The version of a near miss's JSON form.
pub const NEAR_MISS: &str = "probe502.near-miss/1";

/// One thing besides a verdict.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// An upstream failed, and no client had a failed answer for it.
    NearMiss(Box<NearMiss>),
    /// A failure that has not come yet.
    Warning(Box<Warning>),
}

/// The version of a warning's JSON form.
pub const WARNING: &str = "probe502.warning/1";

/// A failure that will come: two idle timers that collide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// [`WARNING`].
    pub schema: String,
    /// When it was told, RFC 3339, UTC, microseconds.
    pub time: String,
    /// The cause that such failures will have.
    pub of: Cause,
    /// `proven` where several closes agree on the upstream's timer, `inferred` where there was one.
    pub confidence: Confidence,
    /// One sentence for people.
    pub sentence: String,
    /// What to do, with both numbers.
    pub remedy: String,
    /// Who keeps connections too long.
    pub gateway: Dialler,
    /// Who closes them.
    pub upstream: Upstream,
    /// The measured timers.
    pub timers: Idle,
}

/// What became of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The gateway tried again at once, and that try was answered.
    Rescued,
    /// No failed answer was seen to follow: a retry that cannot be told, a health check, or an
    /// answer that cannot be seen, as those under TLS.
    Unseen,
}

/// The try that was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rescue {
    /// The address that it was dialled at.
    pub addr: String,
    /// What that upstream answered.
    pub status: u16,
    /// From the failure to that answer, milliseconds.
    pub after_ms: f64,
}

/// A gateway process, without an answer of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dialler {
    /// The process.
    #[serde(flatten)]
    pub who: Who,
    /// The thread that let go of the attempt.
    pub tid: u32,
    /// The addresses that it listens on.
    pub listens: Vec<String>,
}

/// An attempt that failed and that no failed answer took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearMiss {
    /// [`NEAR_MISS`].
    pub schema: String,
    /// Unique on this host: the attempt's end and socket, in hexadecimal.
    pub id: String,
    /// When the attempt was let go, RFC 3339, UTC, microseconds.
    pub time: String,
    /// What became of the request.
    pub outcome: Outcome,
    /// What the gateway's upstream socket saw.
    pub symptom: Symptom,
    /// Why.
    pub cause: Cause,
    /// How sure the cause is.
    pub confidence: Confidence,
    /// One sentence for people.
    pub sentence: String,
    /// What to do.
    pub remedy: String,
    /// Who tried.
    pub gateway: Dialler,
    /// What was asked; fields are absent where they were not seen.
    pub request: Request,
    /// Who should have answered.
    pub upstream: Upstream,
    /// The try, relative to its own end.
    pub attempt: Attempt,
    /// The try that was answered instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescue: Option<Rescue>,
    /// The dated facts, oldest first, relative to the attempt's end.
    pub evidence: Vec<Fact>,
    /// Records lost around it.
    pub lost: u64,
}
