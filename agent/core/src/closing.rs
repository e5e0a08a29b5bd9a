//! What a living process did to the connection, in words.

use crate::amounts::between;
use crate::attempts::Attempt;
use crate::cause::Cause;
use crate::connections::OtherEnd;
use crate::evidence::Evidence;
use crate::sentence::plain;

/// What a living process did to the connection.
#[must_use]
pub fn closed(evidence: &Evidence, attempt: &Attempt, (cause, who): (Cause, &str)) -> String {
    match cause {
        Cause::KeepaliveRace => race(evidence, attempt, who),
        Cause::ListenerClosedQueued => {
            format!("{who} stopped listening while this connection waited to be accepted")
        }
        Cause::AppClosedWithoutAnswer => {
            format!(
                "{who} closed the connection and had sent nothing{}",
                after(evidence, attempt)
            )
        }
        Cause::AppClosedMidHeader => format!(
            "{who} closed the connection after {} bytes, in the middle of the answer's header",
            attempt.flow.heard_bytes
        ),
        Cause::AppResetUnread => format!(
            "{who} closed the connection with {} bytes of the request unread",
            evidence.other_end.as_ref().map_or(0, |end| end.flow.unread)
        ),
        Cause::AppResetLinger => {
            format!(
                "{who} reset the connection on purpose (SO_LINGER 0){}",
                after(evidence, attempt)
            )
        }
        Cause::OomCgroup
        | Cause::OomHost
        | Cause::Crash
        | Cause::Exit
        | Cause::KilledByParent
        | Cause::KilledByRuntime
        | Cause::KilledByUser
        | Cause::Killed
        | Cause::ListenerAbsent
        | Cause::ListenerOtherPort
        | Cause::ListenerOtherAddress
        | Cause::ListenerClosed
        | Cause::FilteredReject
        | Cause::HeaderTooBig
        | Cause::Malformed
        | Cause::NotHttp
        | Cause::PlainToTls
        | Cause::TlsToPlain
        | Cause::TlsAlert
        | Cause::TlsDistrust
        | Cause::TlsClosed
        | Cause::RelayedUpstream
        | Cause::NoLiveUpstream
        | Cause::UnknownEvidenceLost
        | Cause::UnknownAttachedLate
        | Cause::UnknownHookMissing
        | Cause::UnknownUnexplained => plain(evidence.symptom, attempt),
    }
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
