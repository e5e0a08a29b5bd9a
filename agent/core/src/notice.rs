//! What is told besides verdicts, in its public JSON forms: near misses, warnings, deploys.

use std::time::Duration;

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
    /// An upstream stopped or was restarted.
    Deploy(Box<Deploy>),
}

/// The version of a deploy's JSON form.
pub const DEPLOY: &str = "probe502.deploy/1";

/// What became of a service that stopped, or was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Course {
    /// Another process listens there now, or holds the same listener.
    Restarted,
    /// The same process went on, with other workers behind the same listener.
    Reloaded,
    /// Nothing has come in its place so far.
    Stopped,
}

/// Who told it to stop, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The signal's name.
    pub signal: String,
    /// Who sent it; absent where the kernel did, for a terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Who>,
    /// The sender's user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

/// How many answers failed for one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the fields")]
pub struct Count {
    pub cause: Cause,
    pub count: u64,
}

/// One restart of an upstream, from the order to the first quiet moment after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    /// [`DEPLOY`].
    pub schema: String,
    /// Unique on this host: its first moment and process, in hexadecimal. One that was told as
    /// `stopped` is told again under the same id when something listens there.
    pub id: String,
    /// Its first moment, RFC 3339, UTC, microseconds.
    pub time: String,
    /// What became of it.
    pub course: Course,
    /// The first order to stop or to reload; absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// How the process ended, as a cause; absent where it lives, or that was not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Cause>,
    /// One sentence for people.
    pub sentence: String,
    /// What to do; absent where nothing failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The addresses that it listened on.
    pub listens: Vec<String>,
    /// The process that owned the listeners.
    pub old: Who,
    /// Who listens there now, where that is another process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Who>,
    /// How long nobody listened, milliseconds: 0 where someone always did; absent where nobody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_ms: Option<f64>,
    /// Failed answers that it was the reason of.
    pub failed: u64,
    /// The same by cause, the most frequent first.
    pub causes: Vec<Count>,
    /// Connections that waited to be accepted and were reset with the listener.
    pub queued_reset: u64,
    /// Failed answers whose requests it had begun to serve.
    pub cut_off: u64,
    /// How long the oldest of those requests had run, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_off_ms: Option<f64>,
    /// How long after the order it had to go on accepting and answering for none of these to fail,
    /// milliseconds; absent where nothing failed, or no order could have been waited out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_ms: Option<f64>,
    /// `drain_ms` is what is sure; requests that were cut off would have taken an unknown time more.
    pub drain_at_least: bool,
    /// What happened, oldest first, relative to `time`.
    pub steps: Vec<Fact>,
    /// Records lost meanwhile: above 0, counts are what was seen at least.
    pub lost: u64,
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

/// What a gateway and an upstream do with connections between them that idle, as measured so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// The gateway.
    pub gateway: Dialler,
    /// The upstream.
    pub upstream: Upstream,
    /// When the upstream closes them; absent where no two closes agree.
    pub closes_after: Option<Duration>,
    /// For how long at least the gateway keeps them for another request; absent where none idled.
    pub keeps: Option<Duration>,
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
