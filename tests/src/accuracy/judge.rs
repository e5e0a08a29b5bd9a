//! What was said of each cell, against what is true.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::Cell;
use super::door::Outcome;
use crate::agent::Seen;
use crate::gateways::{Kind, READ_TIMEOUT};

/// How a cell went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// One verdict, and the right one.
    Right,
    /// One verdict, that claims nothing.
    Unknown,
    /// One verdict, and not the right one.
    Wrong,
    /// A failed answer without a verdict.
    Missed,
    /// A verdict too many: a second one, or one for an answer that was good.
    Spurious,
    /// The gateway hid the fault: the client got a good answer.
    Hidden,
    /// The gateway closed without an answer.
    Silent,
    /// The fault could not be made.
    Broken,
}

impl Mark {
    /// All of them, as the totals list them.
    pub const ALL: [Self; 8] = [
        Self::Right,
        Self::Unknown,
        Self::Wrong,
        Self::Missed,
        Self::Spurious,
        Self::Hidden,
        Self::Silent,
        Self::Broken,
    ];

    /// As the tables call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Unknown => "unknown",
            Self::Wrong => "wrong",
            Self::Missed => "missed",
            Self::Spurious => "spurious",
            Self::Hidden => "hidden",
            Self::Silent => "silent",
            Self::Broken => "broken",
        }
    }

    /// The mark of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mark| mark.name() == name)
    }

    /// Whether the client saw a failed answer, that must be explained.
    #[must_use]
    pub const fn counts(self) -> bool {
        matches!(self, Self::Right | Self::Unknown) || self.is_bad()
    }

    /// Whether the product failed.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Wrong | Self::Missed | Self::Spurious)
    }
}

/// One cell, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The gateway.
    pub kind: Kind,
    /// The fault's name.
    pub fault: String,
    /// How it went.
    pub mark: Mark,
    /// The status that the client saw.
    pub status: Option<u16>,
    /// The verdict, where there is one.
    pub verdict: Value,
    /// From the client's status line to the verdict.
    pub latency: Option<Duration>,
    /// What was expected, or what went wrong in making the fault.
    pub note: String,
}

impl Judged {
    /// A cell whose fault could not be made.
    #[must_use]
    pub fn broken(cell: Cell, error: &anyhow::Error) -> Self {
        Self {
            kind: cell.kind,
            fault: cell.fault.name.to_owned(),
            mark: Mark::Broken,
            status: None,
            verdict: Value::Null,
            latency: None,
            note: format!("{error:#}"),
        }
    }

    /// A field of its verdict; empty without one.
    #[must_use]
    pub fn field(&self, pointer: &str) -> &str {
        let field = self.verdict.pointer(pointer).and_then(Value::as_str);
        field.unwrap_or_default()
    }
}

/// All that an agent said, each line used at most once.
pub struct Verdicts {
    left: Vec<Seen>,
}

impl Verdicts {
    /// These.
    #[must_use]
    pub fn of(said: Vec<Seen>) -> Self {
        Self { left: said }
    }

    fn take(&mut self, outcome: &Outcome) -> Vec<Seen> {
        let all = std::mem::take(&mut self.left);
        let (own, left) = all.into_iter().partition(|seen| is_about(seen, outcome));
        self.left = left;
        own
    }

    /// Judges the request that counts; the others that the cell asked must each have one verdict if they
    /// failed, and none if not.
    pub fn judge(&mut self, cell: Cell, played: &Result<Outcome>, asked: &[Outcome]) -> Judged {
        let outcome = match played {
            Ok(outcome) => outcome,
            Err(error) => {
                for outcome in asked {
                    self.take(outcome);
                }
                return Judged::broken(cell, error);
            }
        };
        let mut judged = self.one(cell, outcome);
        for other in asked.iter().filter(|other| other.path != outcome.path) {
            let told = self.take(other);
            let expected = usize::from(other.status >= Some(500));
            if told.len() != expected && !judged.mark.is_bad() {
                judged.mark = if told.len() > expected {
                    Mark::Spurious
                } else {
                    Mark::Missed
                };
                judged.note = format!("{} verdicts for {other:?}", told.len());
            }
        }
        judged
    }

    fn one(&mut self, cell: Cell, outcome: &Outcome) -> Judged {
        let told = self.take(outcome);
        let truth = cell.fault.truth_behind(cell.kind);
        let failed = outcome.status >= Some(500) || truth.is_cut() && outcome.status.is_none();
        let seen = told.first().cloned();
        let mark = match (&seen, outcome.status) {
            _ if told.len() > 1 => Mark::Spurious,
            // The gateway may answer whom nobody heard, for what has become of the upstream since.
            _ if outcome.left => Mark::Silent,
            (Some(_), _) if !failed => Mark::Spurious,
            (Some(seen), _) if came_too_late(outcome, truth) && gave_up(seen) => Mark::Broken,
            (Some(seen), _) => mark(seen, outcome, truth),
            (None, Some(_)) if failed => Mark::Missed,
            (None, Some(_)) => Mark::Hidden,
            (None, None) => Mark::Silent,
        };
        let causes = truth.causes.join(" or ");
        let latency = seen
            .as_ref()
            .map(|seen| seen.at.saturating_duration_since(outcome.at));
        Judged {
            kind: cell.kind,
            fault: cell.fault.name.to_owned(),
            mark,
            status: outcome.status,
            verdict: seen.map_or(Value::Null, |seen| seen.verdict),
            latency,
            note: if mark == Mark::Broken {
                "the gateway gave up before the upstream broke".to_owned()
            } else if outcome.error.is_empty() {
                format!("{causes} after {}", truth.symptoms.join(" or "))
            } else {
                format!("{causes}; the client: {}", outcome.error)
            },
        }
    }

    /// Verdicts that belong to no request of the cells.
    pub fn strangers(self) -> Vec<Seen> {
        self.left
    }
}

/// Whether a crowded machine may have been slower to end the connection than the gateway is to give up.
fn came_too_late(outcome: &Outcome, truth: super::Truth) -> bool {
    let ends = |symptom: &&str| ["eof", "reset"].contains(symptom);
    truth.symptoms.iter().all(ends) && outcome.took >= READ_TIMEOUT
}

/// Whether that is what was said: then the label is true, and the fault was not made.
fn gave_up(seen: &Seen) -> bool {
    let causes = ["app.stalled", "listener.not-accepting"];
    seen.field("/symptom") == "no-answer" && causes.contains(&seen.field("/cause"))
}

fn mark(seen: &Seen, outcome: &Outcome, truth: super::Truth) -> Mark {
    let status = seen.verdict["status"].as_u64();
    if seen.field("/confidence") == "unknown" {
        Mark::Unknown
    } else if truth.causes.contains(&seen.field("/cause"))
        && truth.symptoms.contains(&seen.field("/symptom"))
        && (truth.is_cut() || status == outcome.status.map(u64::from))
    {
        Mark::Right
    } else {
        Mark::Wrong
    }
}

/// The paths of the cells are unique; where the request was not seen, the client's address at this
/// door is.
#[must_use]
pub fn is_about(seen: &Seen, outcome: &Outcome) -> bool {
    let path = seen.field("/request/path");
    let same_door = || {
        let port = format!(":{}", outcome.door.port());
        seen.field("/client") == outcome.client.to_string()
            && seen.field("/gateway/listen").ends_with(&port)
    };
    path == outcome.path || (path.is_empty() && same_door())
}
