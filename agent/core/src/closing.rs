//! What a living process did to the connection, in words.

use crate::amounts::between;
use crate::attempts::Attempt;
use crate::cause::Cause;
use crate::connections::OtherEnd;
use crate::evidence::Evidence;
use crate::sentence::plain;

/// What a living process did to the connection; the symptom in words for other causes.
#[must_use]
pub fn closed(evidence: &Evidence, attempt: &Attempt, (cause, who): (Cause, &str)) -> String {
    let after = after(evidence, attempt);
    let unread = evidence.other_end.as_ref().map_or(0, |end| end.flow.unread);
    let heard = attempt.flow.heard_bytes;
    let closed = format!("{who} closed the connection");
    let told = [
        (Cause::KeepaliveRace, race(evidence, attempt, who)),
        (
            Cause::ListenerClosedQueued,
            format!("{who} stopped listening while this connection waited to be accepted"),
        ),
        (
            Cause::AppClosedWithoutAnswer,
            format!("{closed} and had sent nothing{after}"),
        ),
        (
            Cause::AppClosedMidHeader,
            format!("{closed} after {heard} bytes, in the middle of the answer's header"),
        ),
        (
            Cause::AppClosedMidBody,
            format!("{closed} after {heard} bytes, in the middle of the answer's body"),
        ),
        (
            Cause::AppResetUnread,
            format!("{closed} with {unread} bytes of the request unread"),
        ),
        (
            Cause::AppResetLinger,
            format!("{who} reset the connection on purpose (SO_LINGER 0){after}"),
        ),
    ];
    let told = told.into_iter().find(|(own, _)| *own == cause);
    told.map_or_else(|| plain(evidence.symptom, attempt), |(_, words)| words)
}

fn race(evidence: &Evidence, attempt: &Attempt, who: &str) -> String {
    let idle = match &evidence.other_end {
        Some(end) => upstream_idle(end),
        None => attempt
            .flow
            .fin_at
            .zip(attempt.flow.heard_before_at)
            .map(|(fin, heard)| between(heard, fin)),
    };
    let idle = idle
        .map(|idle| format!(" after {idle} idle"))
        .unwrap_or_default();
    format!("{who} closed the pooled connection{idle}, as this request went out on it")
}

/// How long the upstream's holder let it idle: its own timer, measured.
#[must_use]
pub fn upstream_idle(end: &OtherEnd) -> Option<String> {
    end.flow.said_at.map(|said| between(said, end.at))
}

fn after(evidence: &Evidence, attempt: &Attempt) -> String {
    let ended = evidence.other_end.as_ref().map(|end| end.at);
    let span = attempt
        .began()
        .zip(ended)
        .filter(|(began, ended)| began < ended);
    span.map(|(began, ended)| format!(", {} into the request", between(began, ended)))
        .unwrap_or_default()
}
