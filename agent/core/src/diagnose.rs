//! Evidence is judged here, by tables: a wrong label is worse than none.

use std::time::Duration;

use crate::attempts::{Attempt, is_http};
use crate::body;
use crate::cause::Cause;
use crate::connections::OtherEnd;
use crate::ends::{is_unread, was_left};
use crate::event::{Flow, How, Task};
use crate::evidence::{Complete, Evidence};
use crate::http;
use crate::listeners::Place;
use crate::names;
use crate::network;
use crate::processes::{By, Ending, Way};
use crate::stalled;
use crate::timers::LATE;
use crate::tls::{self, Stage};
use crate::units::Timestamp;
use crate::verdict::{Confidence, Join, Symptom};

mod absence;
mod local;
pub mod protocol;
mod sealed;

/// A connection silent for this long was idle; the kernel programs use the same measure.
pub const IDLE_MS: u32 = 100;
const ECONNREFUSED: u16 = 111;
/// How long after its sockets an interpreter exits: 30 to 230 ms were measured, on a quiet machine.
const LEAVING: Duration = Duration::from_millis(400);

/// What the evidence comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Why.
    pub cause: Cause,
    /// How sure.
    pub confidence: Confidence,
}

/// All was seen.
pub const UNEXPLAINED: Judgement = unknown(Cause::UnknownUnexplained);

/// See [`Confidence`].
#[must_use]
pub const fn proven(cause: Cause) -> Judgement {
    Judgement {
        cause,
        confidence: Confidence::Proven,
    }
}

/// See [`Confidence`].
#[must_use]
pub const fn inferred(cause: Cause) -> Judgement {
    Judgement {
        cause,
        confidence: Confidence::Inferred,
    }
}

/// See [`Confidence`].
#[must_use]
pub const fn unknown(cause: Cause) -> Judgement {
    Judgement {
        cause,
        confidence: Confidence::Unknown,
    }
}

/// The verdict's cause, and how sure it is.
#[must_use]
pub fn diagnose(evidence: &Evidence) -> Judgement {
    let judgement = match (evidence.symptom, evidence.deciding()) {
        (Symptom::NoAttempt, _) | (_, None) if local::called(evidence).is_some() => {
            local::called(evidence).unwrap_or(UNEXPLAINED)
        }
        (Symptom::NoAttempt, _) | (_, None) if evidence.unresolved.is_some() => {
            names::judged(evidence)
        }
        (Symptom::NoAttempt, _) | (_, None) if !evidence.failures.is_empty() => {
            inferred(Cause::NoLiveUpstream)
        }
        (Symptom::NoAttempt, _) | (_, None) if evidence.is_its_own => inferred(Cause::OwnAnswer),
        (Symptom::NoAttempt, _) | (_, None) => UNEXPLAINED,
        (Symptom::Relayed, Some(_)) => proven(Cause::RelayedUpstream),
        (Symptom::Refused | Symptom::ConnectError, Some(attempt))
            if attempt.flow.path.is_some() =>
        {
            local::dialled(evidence, attempt).unwrap_or(UNEXPLAINED)
        }
        (Symptom::Refused, Some(attempt)) => refused(evidence, attempt),
        (Symptom::Unreachable | Symptom::ConnectTimeout | Symptom::ConnectError, Some(attempt)) => {
            network::unconnected(evidence, attempt)
                .or_else(|| local::called(evidence))
                .unwrap_or(UNEXPLAINED)
        }
        (Symptom::BadAnswer, Some(attempt)) => protocol::bad_answer(&attempt.flow),
        (Symptom::TlsFailure, Some(attempt)) => match protocol::handshake(&attempt.flow) {
            Some(judgement) => judgement,
            None => broken(evidence, attempt),
        },
        (Symptom::Truncated, Some(own)) if !was_left(&own.flow) => stalled::in_body(evidence, own),
        (Symptom::Eof | Symptom::Reset | Symptom::Truncated, Some(attempt)) => {
            broken(evidence, attempt)
        }
        (Symptom::NoAnswer, Some(attempt)) => network::unanswered(evidence, attempt)
            .unwrap_or_else(|| stalled::judge(evidence, attempt)),
    };
    qualify(judgement, evidence)
}

fn refused(evidence: &Evidence, attempt: &Attempt) -> Judgement {
    let seen = evidence.reset.is_some();
    let sure = |cause| if seen { proven(cause) } else { inferred(cause) };
    match (seen, &evidence.drop, attempt.flow.soft_error.0) {
        (false, Some(_), _) => return proven(Cause::FilteredReject),
        // A closed port answers a SYN with a RST; an ICMP error is a firewall's answer.
        (false, None, ECONNREFUSED) => return inferred(Cause::FilteredReject),
        (true, _, _) | (false, None, _) => {}
    }
    match (&evidence.place, &evidence.ending) {
        (None | Some(Place::Taken), _) => UNEXPLAINED,
        (Some(Place::Nothing | Place::Neighbour(_)), _) => sure(Cause::ListenerAbsent),
        (Some(Place::Later(_)), _) => sure(Cause::ListenerNotReady),
        (Some(Place::OtherAddress(_)), _) => sure(Cause::ListenerOtherAddress),
        (Some(Place::Moved(_)), _) => sure(Cause::ListenerOtherPort),
        (Some(Place::SameService(_) | Place::OnlyOther(_)), _) => {
            inferred(Cause::ListenerOtherPort)
        }
        (Some(Place::Closed(_)), Some(ending)) => {
            let death = died(ending);
            if seen { death } else { inferred(death.cause) }
        }
        (Some(Place::Closed(closed)), None) if closed.listener.dying => UNEXPLAINED,
        (Some(Place::Closed(_)), None) => sure(Cause::ListenerClosed),
    }
}

/// The other end broke the connection before a whole header.
fn broken(evidence: &Evidence, attempt: &Attempt) -> Judgement {
    let Some(end) = &evidence.other_end else {
        return unseen(evidence, attempt);
    };
    // An encrypted alert that ends the handshake: what its sender did next explains nothing.
    if tls::may_be_refused(&attempt.flow) {
        return UNEXPLAINED;
    }
    // A copy was the last to go: who let go of the connection itself was not seen.
    if end.flow.executing && end.flow.task.is_none() {
        return UNEXPLAINED;
    }
    match (end.flow.how, &evidence.ending) {
        (How::Open | How::Released, _) => unseen(evidence, attempt),
        // A process that leaves in good order closes its queue as a draining one does.
        (How::Queued, Some(ending))
            if ending.is_orderly() || !end.flow.dying && ending.was_asked() =>
        {
            proven(Cause::ListenerClosedQueued)
        }
        (How::Fin | How::Unread | How::Linger, Some(ending)) if !ending.gone => {
            inferred(died(ending).cause)
        }
        (How::Fin | How::Unread | How::Linger | How::Queued, Some(ending)) => {
            let death = died(ending);
            if end.flow.dying || ending.at.since(end.at) <= LEAVING {
                death
            } else {
                inferred(death.cause)
            }
        }
        (How::Fin | How::Unread | How::Linger | How::Queued, None) if end.flow.dying => UNEXPLAINED,
        (How::Queued, None) => proven(Cause::ListenerClosedQueued),
        (How::Fin | How::Unread | How::Linger, None) => {
            protocol::closed(attempt, end).unwrap_or_else(|| chosen(evidence, attempt, end))
        }
    }
}

/// A living process closed.
fn chosen(evidence: &Evidence, attempt: &Attempt, end: &OtherEnd) -> Judgement {
    let flow = &attempt.flow;
    // Who closes with a request unread may have looked at it: only its timer's length tells.
    let timed = evidence.timer_struck == Some(true);
    if tls::is_spoken(flow) && tls::stage(flow) != Some(Stage::Greeted) {
        return sealed::closed(attempt, end, evidence.timer_struck);
    }
    let partial = flow.heard_bytes > 0;
    let in_body = evidence.symptom == Symptom::Truncated;
    // In another protocol an answer's parts, and a request that has not come, cannot be told.
    let opaque = !is_http(flow) && (partial || end.flow.heard_bytes == 0);
    // A UNIX message that was read before its hook ran left no bytes to look at.
    let unseen = flow.path.is_some() && !partial && flow.heard_at > flow.said_at;
    match (end.flow.how, partial) {
        (How::Open | How::Released | How::Queued, _) => UNEXPLAINED,
        (How::Fin | How::Unread | How::Linger, _) if unseen => UNEXPLAINED,
        (How::Fin | How::Unread | How::Linger, _) if opaque && !raced(end) => UNEXPLAINED,
        (_, true) if !in_body => proven(Cause::AppClosedMidHeader),
        (How::Fin, true) => proven(Cause::AppClosedMidBody),
        (How::Unread, true) => proven(Cause::AppResetUnread),
        (How::Linger, _) => proven(Cause::AppResetLinger),
        // Who closes a UNIX socket without reading may have seen that something had come.
        (How::Unread, false) if raced(end) && flow.path.is_some() => inferred(Cause::KeepaliveRace),
        (How::Unread, false) if raced(end) && timed => proven(Cause::KeepaliveRace),
        (How::Unread, false) if raced(end) => UNEXPLAINED,
        (How::Unread, false) if timed && came_late(end) => inferred(Cause::KeepaliveRace),
        (How::Unread, false) if came_late(end) && evidence.timer_struck.is_none() => UNEXPLAINED,
        (How::Unread, false) => proven(Cause::AppResetUnread),
        (How::Fin, false) if raced(end) && end.flow.quiet_ms < IDLE_MS => {
            inferred(Cause::KeepaliveRace)
        }
        (How::Fin, false) if raced(end) => proven(Cause::KeepaliveRace),
        (How::Fin, false) => proven(Cause::AppClosedWithoutAnswer),
    }
}

/// Whether the gateway let the connection idle as long as some timer may be; shorter, an upstream
/// that closes after every answer without announcing it looks the same.
fn idled(flow: &Flow) -> bool {
    let idle = flow.heard_before_at.zip(flow.fin_at.or(flow.said_at));
    idle.is_some_and(|(heard, end)| end.since(heard).as_millis() >= u128::from(IDLE_MS))
}

/// The other end's close was not told of: it was no failure there, or it is on another host.
fn unseen(evidence: &Evidence, attempt: &Attempt) -> Judgement {
    let flow = &attempt.flow;
    let served = attempt.reused() && flow.heard > 0 && flow.heard_bytes == 0;
    let reason = evidence
        .reset
        .as_ref()
        .and_then(|(_, reset)| reset.reason.as_deref());
    // A socket that a dying process closes is always told of; so the closer of this one lives.
    let gone = matches!(reason, Some("TCP_TIMEWAIT_SOCKET" | "TCP_ABORT_ON_DATA"));
    let closed_before = flow
        .fin_at
        .zip(flow.said_at)
        .is_some_and(|(fin, said)| fin <= said);
    match (served, gone, closed_before) {
        (true, true, _) if evidence.complete == Complete::Yes && idled(flow) => {
            proven(Cause::KeepaliveRace)
        }
        (true, true, _) | (true, false, true) => inferred(Cause::KeepaliveRace),
        (_, false, _) | (false, true, _) => {
            let rejected = evidence.drop.is_some() && evidence.reset.is_none() && flow.reset_heard;
            if rejected {
                proven(Cause::FilteredReject)
            } else {
                network::reset_by_another(evidence, attempt)
                    .or_else(|| sealed::unseen(flow, gone))
                    .unwrap_or(UNEXPLAINED)
            }
        }
    }
}

/// Closed by an idle timer as the next request was under way.
#[must_use]
pub fn raced(end: &OtherEnd) -> bool {
    let flow = &end.flow;
    let reached = |moment: Timestamp| end.at.since(moment).as_millis() < u128::from(IDLE_MS);
    match flow.how {
        _ if flow.said == 0 => false,
        // A timer that ends idle connections waits for the end of what is being said.
        _ if body::said(flow).is_some() => false,
        // Read or looked at after it had come.
        _ if flow.served.served_at.is_some() && flow.served.served_at >= flow.heard_at => false,
        How::Fin => flow.heard_bytes == 0 && (served_http(flow) || flow.quiet_ms >= IDLE_MS),
        // It had only just come.
        How::Unread => lay_unread(flow) && flow.heard_at.is_some_and(reached),
        How::Open | How::Linger | How::Queued | How::Released => false,
    }
}

/// The request waited for a busy upstream, no longer than an idle timer may be late there.
fn came_late(end: &OtherEnd) -> bool {
    let flow = &end.flow;
    let served = flow.served.served_at.is_some() && flow.served.served_at >= flow.heard_at;
    flow.said > 0 && !served && lay_unread(flow) && came_lately(end)
}

fn came_lately(end: &OtherEnd) -> bool {
    (end.flow.heard_at).is_some_and(|heard| end.at.since(heard) <= LATE)
}

/// Nothing of the request that came after a silence was read.
fn lay_unread(flow: &Flow) -> bool {
    answered(flow) && is_unread(flow) && flow.quiet_ms >= IDLE_MS
}

/// Whether the last thing it said was a whole header, as far as was kept.
fn answered(flow: &Flow) -> bool {
    let kept = u64::try_from(flow.said_head.0.len()).unwrap_or(u64::MAX);
    kept == 0 || http::ends_within(&flow.said_head) || flow.said_bytes > kept
}

/// Whether the accepted end was asked in HTTP/1, so that what it said was an answer.
fn served_http(flow: &Flow) -> bool {
    flow.heard_head.0.is_empty() || http::request_line(&flow.heard_head).is_some()
}

/// A process's end as a cause.
#[must_use]
pub fn died(ending: &Ending) -> Judgement {
    match &ending.way {
        Way::Oom(Some(report)) if report.by_cgroup => proven(Cause::OomCgroup),
        Way::Oom(Some(_)) => proven(Cause::OomHost),
        Way::Oom(None) => inferred(Cause::Killed),
        Way::Crash { .. } => proven(Cause::Crash),
        Way::Exit(_) => proven(Cause::Exit),
        Way::Signalled { by: By::Parent, .. } => proven(Cause::KilledByParent),
        Way::Signalled {
            by: By::Runtime, ..
        } => proven(Cause::KilledByRuntime),
        Way::Signalled { by: By::User, .. } => proven(Cause::KilledByUser),
        Way::Signalled { by: By::Guard, .. } => proven(Cause::OomUserspace),
        Way::Killed(_) => proven(Cause::Killed),
    }
}

/// What is missing, or joined by less than an identity, takes certainty away.
fn qualify(judgement: Judgement, evidence: &Evidence) -> Judgement {
    if evidence.is_in_doubt {
        return unknown(Cause::UnknownEvidenceLost);
    }
    let by_absence = absence::rests_on_absence(judgement.cause, evidence);
    if judgement.confidence == Confidence::Unknown || by_absence {
        match evidence.complete {
            Complete::Lost(_) => return unknown(Cause::UnknownEvidenceLost),
            Complete::Late if !by_absence => return unknown(Cause::UnknownAttachedLate),
            Complete::Missing(_) if !by_absence || judgement.cause == Cause::OwnAnswer => {
                return unknown(Cause::UnknownHookMissing);
            }
            Complete::Yes | Complete::Late | Complete::Missing(_) => {}
        }
    }
    if rests_on_the_past(judgement) && evidence.saw_only_the_end() {
        return unknown(Cause::UnknownAttachedLate);
    }
    let joined = &evidence.joined;
    let is_translated = evidence
        .other_end
        .as_ref()
        .is_some_and(|end| end.translated);
    // An orderly stop closes a connection as an idle timer or a bug does; its exit may take longer.
    let closed = [
        Cause::KeepaliveRace,
        Cause::AppClosedWithoutAnswer,
        Cause::AppClosedMidHeader,
        Cause::AppClosedMidBody,
    ];
    let is_doubtful = closed.contains(&judgement.cause) && evidence.is_stopping;
    let is_copy = evidence.other_end.as_ref().is_some_and(is_copy);
    let is_weak = is_copy
        || joined.ambiguous
        || joined.divided
        || is_translated
        || is_doubtful
        || evidence.is_hurried;
    match (judgement.confidence, joined.by) {
        (Confidence::Unknown, _) => judgement,
        (_, Join::Time) if joined.ambiguous || joined.divided => UNEXPLAINED,
        // Nothing tells which of several failures was this answer's.
        (_, _) if joined.divided && !is_in_turn(evidence) => UNEXPLAINED,
        (_, Join::Time) => inferred(judgement.cause),
        (_, Join::TaskOrder | Join::RequestLine | Join::None) if is_weak => {
            inferred(judgement.cause)
        }
        (_, Join::TaskOrder | Join::RequestLine | Join::None) => judgement,
    }
}

/// Whether the gateway's order says which of several failures was this answer's.
fn is_in_turn(evidence: &Evidence) -> bool {
    let swept = evidence
        .deciding()
        .is_some_and(|attempt| attempt.flow.marks.swept);
    evidence.answer.manner.orderly && !swept
}

/// Whether another process may have served what this one let go of: a child that is about to run
/// another program, or one that outlived its parent.
fn is_copy(end: &OtherEnd) -> bool {
    let orphaned = |task: &Task| task.parent.0 <= 1;
    end.flow.executing || end.flow.inherited && end.flow.task.as_ref().is_some_and(orphaned)
}

/// Whether the cause is claimed from what the other end had read and said before its end.
fn rests_on_the_past(judgement: Judgement) -> bool {
    [
        Cause::AppClosedWithoutAnswer,
        Cause::AppClosedMidHeader,
        Cause::AppClosedMidBody,
        Cause::AppResetUnread,
        Cause::KeepaliveRace,
        Cause::TlsClosed,
    ]
    .contains(&judgement.cause)
}
