//! Upstreams that fall silent within an answer's body, until the gateway gives up.

use std::time::Duration;

use crate::amounts::{label, span};
use crate::attempts::Attempt;
use crate::cause::Cause;
use crate::diagnose::{Judgement, UNEXPLAINED, inferred, proven};
use crate::ends::was_left;
use crate::evidence::Evidence;
use crate::memory::Memory;
use crate::stalled::activity;
use crate::verdict::Symptom;

/// A timer that is shorter is nobody's. A judgement of ours.
const LONG: Duration = Duration::from_secs(1);

/// Whether the gateway gave up waiting: for an answer, or for more of it.
#[must_use]
pub fn waited(symptom: Symptom, attempt: &Attempt) -> bool {
    let in_body = symptom == Symptom::Truncated && !was_left(&attempt.flow);
    symptom == Symptom::NoAnswer || in_body
}

/// Whether the gateway had been asked to stop or to reload: then it gave up for that.
#[must_use]
pub fn is_gateway_stopping(attempt: &Attempt, memory: &Memory) -> bool {
    let parent = attempt.flow.task.as_ref().map(|task| task.parent);
    let asked = |pid| memory.processes.stop_before(pid, attempt.at).is_some();
    asked(attempt.pid) || parent.is_some_and(asked)
}

/// The gateway gave up within the body. That the upstream holds its end still, and has nothing under way,
/// was seen on this host.
#[must_use]
pub fn judge(evidence: &Evidence, attempt: &Attempt) -> Judgement {
    let stall = &evidence.stall;
    let held = match (&stall.peer, &evidence.other_end) {
        (Some((_, peer)), _) => peer.held && peer.unsent == 0,
        (None, Some(end)) => end.at > attempt.at && end.flow.unacked == 0,
        (None, None) => false,
    };
    // Its own client may not have taken what it wrote.
    let is_its_own = stall.gateway_stops || evidence.answer.flow.unacked > 0;
    let silence = silence(attempt);
    let asked = attempt.began();
    let most = asked.is_some_and(|began| silence * 2 >= attempt.at.since(began));
    match held && !is_its_own {
        false => UNEXPLAINED,
        true if stall.is_dumping() => proven(Cause::Crash),
        // After a long answer it may be a timer for the whole of it.
        true if silence >= LONG && most => proven(Cause::AppStalled),
        true => inferred(Cause::AppStalled),
    }
}

fn silence(attempt: &Attempt) -> Duration {
    Duration::from_millis(attempt.flow.unheard_ms.into())
}

/// What happened, as the end of a sentence.
#[must_use]
pub fn sentence(evidence: &Evidence, attempt: &Attempt, memory: &Memory) -> String {
    let stall = &evidence.stall;
    let who = stall.server.as_ref().map_or_else(
        || format!("the upstream {}", attempt.flow.target()),
        |task| label(&memory.processes.who(task, attempt.at)),
    );
    let (heard, silence) = (attempt.flow.heard_bytes, span(silence(attempt)));
    let doing = stall.doing.as_ref();
    let doing = doing.map_or_else(String::new, |(_, doing)| format!("; {}", activity(doing)));
    format!(
        "{who} sent {heard} bytes and then nothing for {silence}, until the gateway gave up{doing}"
    )
}
