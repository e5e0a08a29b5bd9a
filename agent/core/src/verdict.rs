//! The answer's label: what every output shows, and its public JSON form.

use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::units::{Pid, Timestamp};

/// The version of the JSON form.
pub const SCHEMA: &str = "probe502.verdict/1";

/// What the gateway's own upstream socket saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(
    missing_docs,
    reason = "documented in docs/symptoms.md, and by `sentence`"
)]
pub enum Symptom {
    Refused,
    Unreachable,
    ConnectTimeout,
    ConnectError,
    Eof,
    Reset,
    NoAnswer,
    BadAnswer,
    TlsFailure,
    NoAttempt,
    Relayed,
    Truncated,
}

/// How sure the cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Events on these very sockets and processes, joined by socket, pid or thread.
    Proven,
    /// Joined by time, or by elimination.
    Inferred,
    /// No cause is claimed.
    Unknown,
}

/// How the answer was joined to its upstream attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Join {
    /// The same thread let go of the upstream connection and then answered.
    TaskOrder,
    /// The same request line, the same gateway process, within the request's time.
    RequestLine,
    /// The same gateway process, within the request's time, and no other candidate.
    Time,
    /// No attempt belongs to this answer.
    None,
}

/// What the client got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A failed answer.
    #[default]
    Answer,
    /// No failed status: its connection was closed before the answer came, or before its end.
    Silent,
}

/// How far an answer came that broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Bytes of its body that the gateway had passed on; absent where its header is too long to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_bytes: Option<u64>,
    /// Bytes that its header announced; absent where its body came in chunks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_bytes: Option<u64>,
}

/// One label for one failed answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// [`SCHEMA`].
    pub schema: String,
    /// Unique on this host: the answer's moment and socket, in hexadecimal.
    pub id: String,
    /// When the answer left, RFC 3339, UTC, microseconds.
    pub time: String,
    /// The same by the monotonic clock, for the agent's own sums.
    #[serde(skip)]
    pub answered_at: Timestamp,
    /// What the client got.
    #[serde(default)]
    pub kind: Kind,
    /// The answer's status code; 0 where there was none.
    pub status: u16,
    /// How far the answer came, where it broke off within its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// What the gateway's upstream socket saw.
    pub symptom: Symptom,
    /// Why.
    pub cause: Cause,
    /// How sure.
    pub confidence: Confidence,
    /// One sentence for people.
    pub sentence: String,
    /// What to do, with the measured numbers in it.
    pub remedy: String,
    /// Who answered.
    pub gateway: Gateway,
    /// How that gateway words this event in its own log: any one of these. Empty where its program
    /// is not known, or it says nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateway_says: Vec<String>,
    /// The client's address.
    pub client: String,
    /// What was asked; fields are absent where they were not seen.
    pub request: Request,
    /// Who should have answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    /// How the attempts were found.
    pub joined_by: Join,
    /// Each try of this request, oldest first.
    pub attempts: Vec<Attempt>,
    /// The two idle timers, as far as they were measured: only where they collided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timers: Option<Idle>,
    /// The earlier failures that put the upstreams down, oldest first: only where none was tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failed>,
    /// The dated facts that the verdict stands on, oldest first.
    pub evidence: Vec<Fact>,
    /// Records lost around this answer: above 0, absence proves nothing.
    pub lost: u64,
}

impl Verdict {
    /// As JSON on one line. Here and not at its callers: they are built for size, and it has a hundred parts.
    ///
    /// # Errors
    /// Never: it holds numbers and text.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

/// Who a process is, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the fields")]
pub struct Who {
    pub pid: Pid,
    pub comm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Cluster>,
}

/// The names that a Kubernetes cluster gives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the fields")]
pub struct Cluster {
    pub namespace: String,
    pub pod: String,
    /// What runs the pod, and its kind: `orders`, `Deployment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// The gateway process and the address that it was asked on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gateway {
    /// The process.
    #[serde(flatten)]
    pub who: Who,
    /// The thread that answered.
    pub tid: u32,
    /// The address that the client dialled.
    pub listen: String,
}

/// The request; the query string is dropped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the fields")]
pub struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// From the request's arrival to the answer, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outstanding_ms: Option<f64>,
}

/// The upstream of the attempt that decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    /// The address that the gateway dialled.
    pub addr: String,
    /// The address that it was translated to on the way, where that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<String>,
    /// The process that held the other end, where it is on this host and known.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub who: Option<Who>,
}

/// One try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The address dialled.
    pub addr: String,
    /// How it failed.
    pub symptom: Symptom,
    /// The connection had served a request before.
    pub reused: bool,
    /// When it began and ended, milliseconds relative to the answer.
    pub began_ms: f64,
    /// See `began_ms`.
    pub ended_ms: f64,
}

/// A dated line of the evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Milliseconds relative to the answer; negative is before.
    pub at_ms: f64,
    /// What happened.
    pub fact: String,
}

/// Two idle timers, measured from the connections that they closed. Milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// The upstream's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_ms: Option<u64>,
    /// How many closes agree on it; 0 where only this failure shows it.
    pub upstream_samples: usize,
    /// The gateway's own, where it is known and the longer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_ms: Option<u64>,
    /// How many closes agree on it.
    pub gateway_samples: usize,
    /// How long the gateway was seen to keep an idle connection to this upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_at_least_ms: Option<u64>,
}

/// An earlier failure of the same gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// When it failed, milliseconds relative to the answer: negative.
    pub at_ms: f64,
    /// The address that failed.
    pub upstream: String,
    /// How.
    pub symptom: Symptom,
    /// Why, where its own verdict was reached before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}
