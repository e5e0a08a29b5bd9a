//! What is said of an answer that no attempt at an upstream preceded.

use crate::amounts::{between, symptom};
use crate::cause::Cause;
use crate::evidence::{Evidence, Failure};
use crate::names::Unresolved;
use crate::sentence::gap;

/// What happened, after the symptom's word.
#[must_use]
pub fn without_attempt(evidence: &Evidence, cause: Cause) -> String {
    if let Some((at, how, name)) = &evidence.unresolved {
        let before = between(*at, evidence.answer.at);
        return match how {
            Unresolved::Absent => {
                format!("the gateway's name server said {before} before that there is no {name}")
            }
            Unresolved::Failed => {
                format!("the gateway's name server failed {before} before to resolve {name}")
            }
            Unresolved::Silent => {
                format!("the gateway turned to a name server {before} before, and heard nothing")
            }
        };
    }
    match (cause, evidence.failures.as_slice()) {
        (Cause::NoLiveUpstream, [_, ..]) => {
            format!("the gateway tried no upstream; {}", earlier(evidence))
        }
        (Cause::OwnAnswer, _) => {
            "the gateway gave this answer itself: it turned to no upstream, and \
                                  none had failed before"
                .to_owned()
        }
        _ => format!(
            "the gateway answered and no attempt at an upstream was seen{}",
            gap(evidence)
        ),
    }
}

/// The failures that put the upstreams down, the newest first.
fn earlier(evidence: &Evidence) -> String {
    let one = |failure: &Failure| {
        let why = failure.cause.map_or(symptom(failure.symptom), Cause::id);
        let before = between(failure.at, evidence.answer.at);
        format!("{before} before, {} had failed ({why})", failure.upstream)
    };
    let all: Vec<String> = evidence.failures.iter().rev().map(one).collect();
    all.join("; ")
}
