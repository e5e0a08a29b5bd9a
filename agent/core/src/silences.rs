//! Upstreams that fall silent within an answer's body, until the gateway gives up.

use std::time::Duration;

use crate::amounts::{label, span};
use crate::attempts::Attempt;
use crate::body;
use crate::cause::Cause;
use crate::diagnose::{Judgement, UNEXPLAINED, inferred, proven};
use crate::ends::was_left;
use crate::evidence::Evidence;
use crate::memory::Memory;
use crate::stalled::activity;
use crate::verdict::{Confidence, Symptom};

/// Shorter timers are rare. A judgement of ours.
const LONG: Duration = Duration::from_secs(1);
/// Who was told to stop may take one request more.
const JUST_BEFORE: Duration = Duration::from_secs(1);
/// Timers are set in whole seconds, and strike so much later at most.
const LATE: u128 = 50;

/// Whether the gateway gave up waiting: for an answer, or for more of it.
#[must_use]
pub fn waited(symptom: Symptom, attempt: &Attempt) -> bool {
    symptom == Symptom::NoAnswer || is_in_body(symptom, attempt)
}

/// Whether it gave up within the body.
#[must_use]
pub fn is_in_body(symptom: Symptom, attempt: &Attempt) -> bool {
    symptom == Symptom::Truncated && !was_left(&attempt.flow)
}

/// Whether the gateway had been asked to stop or to reload since it asked: then it may have given up for
/// that, and it may take minutes (nginx: `worker_shutdown_timeout`).
#[must_use]
pub fn is_gateway_stopping(attempt: &Attempt, memory: &Memory) -> bool {
    let parent = attempt.flow.task.as_ref().map(|task| task.parent);
    let began = attempt.began().unwrap_or_default().minus(JUST_BEFORE);
    let asked = |pid| memory.processes.is_turned_off(pid, began, attempt.at);
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
    // Its own client may not have taken what it wrote, or not have sent all that it asks.
    let is_its_own = stall.gateway_stops || evidence.answer.flow.unacked > 0;
    let asked = body::is_asked_whole(&attempt.flow);
    if !held || is_its_own || asked == Some(false) {
        return UNEXPLAINED;
    }
    let waited = attempt.began().map(|began| attempt.at.since(began));
    match sureness(silence(attempt), waited.unwrap_or_default()) {
        Confidence::Unknown => UNEXPLAINED,
        Confidence::Proven | Confidence::Inferred if stall.is_dumping() => stall.crashed(),
        Confidence::Proven if asked.is_some() => proven(Cause::AppStalled),
        Confidence::Proven | Confidence::Inferred => inferred(Cause::AppStalled),
    }
}

/// A timer for the whole answer cuts those that are well under way too: most of the wait must have been
/// silence, or the silence be what a timer measures and the whole not. Envoy's, Squid's and Varnish's strike
/// some milliseconds early or late, so that nothing is asked of a silence that was most of the wait.
fn sureness(silence: Duration, waited: Duration) -> Confidence {
    let late = |span: Duration, of: u128| span.as_millis() % of <= LATE;
    let is_timer = |span: Duration| span >= LONG && late(span, 1000);
    let is_round = |span: Duration| span >= LONG && late(span, 5000);
    let is_whole = |span: Duration| is_timer(span) || span.as_millis() % 1000 >= 1000 - LATE;
    match silence * 4 >= waited * 3 {
        true if silence >= LONG => Confidence::Proven,
        true => Confidence::Inferred,
        false if is_round(silence) && !is_whole(waited) => Confidence::Inferred,
        false => Confidence::Unknown,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_for_the_whole_answer_is_no_silence() {
        for (silence, waited, sure) in [
            (60_002, 60_900, Confidence::Proven),
            (2_600, 3_001, Confidence::Proven),
            (15_001, 15_001, Confidence::Proven),
            (500, 510, Confidence::Inferred),
            (2_998, 3_000, Confidence::Proven),
            (60_002, 180_400, Confidence::Inferred),
            (8_000, 15_001, Confidence::Unknown),
            (3_700, 17_400, Confidence::Unknown),
            (13_020, 180_400, Confidence::Unknown),
        ] {
            let [silence, waited] = [silence, waited].map(Duration::from_millis);
            assert_eq!(sureness(silence, waited), sure, "{silence:?} {waited:?}");
        }
    }
}
