//! What a gateway's own log can tell apart, and which causes look so.

use crate::attempts::is_http;
use crate::cause::Cause;
use crate::evidence::Evidence;
use crate::silences::is_in_body;
use crate::verdict::Symptom;

macro_rules! sights {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal, $title:literal,)+) => {
        /// What the gateway saw, as finely as any product's log tells it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Sight { $($(#[doc = $doc])+ $name,)+ }

        impl Sight {
            /// Every sight, from the name's lookup to the answer's body.
            pub const ALL: [Self; [$(Self::$name,)+].len()] = [$(Self::$name,)+];

            /// A short name, which is also its anchor in the documentation.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)+ }
            }

            /// What the gateway saw, in words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

sights! {
    /// The name server said that there is no such name.
    NameAbsent = "name-absent", "the name server knows no such name",
    /// The name server failed.
    NameFailed = "name-failed", "the name server failed",
    /// The name server did not answer.
    NameTimeout = "name-timeout", "the name server did not answer",
    /// A rule of its own.
    OwnRule = "own-rule", "it answered by a rule of its own",
    /// Every upstream was marked down.
    NoLive = "no-live", "every upstream was marked down",
    /// `socket(2)`: EMFILE, ENFILE.
    NoDescriptors = "no-descriptors", "it had no file descriptor left",
    /// `socket(2)` or `connect(2)`: ENOBUFS, ENOMEM.
    NoMemory = "no-memory", "it had no memory for another socket",
    /// `connect(2)`: EADDRNOTAVAIL.
    NoPorts = "no-ports", "it had no local port left",
    /// `connect(2)`: EACCES, EPERM.
    Denied = "denied", "it was not allowed to connect",
    /// `connect(2)`: ENETUNREACH, EHOSTUNREACH, at once or by ICMP.
    Unreachable = "unreachable", "the upstream could not be reached",
    /// ECONNREFUSED.
    Refused = "refused", "the upstream refused the connection",
    /// No answer to the SYN.
    ConnectTimeout = "connect-timeout", "the connection was not established in time",
    /// A UNIX socket's path: ENOENT.
    UnixMissing = "unix-missing", "the UNIX socket does not exist",
    /// A UNIX socket that nobody listens on: ECONNREFUSED.
    UnixRefused = "unix-refused", "nobody listens on the UNIX socket",
    /// A UNIX socket whose queue is full: EAGAIN.
    UnixFull = "unix-full", "the UNIX socket's queue was full",
    /// A UNIX socket that it may not connect to: EACCES.
    UnixDenied = "unix-denied", "it may not connect to the UNIX socket",
    /// The upstream's alert in the handshake.
    TlsAlert = "tls-alert", "the upstream sent a TLS alert in the handshake",
    /// The gateway refused the certificate.
    TlsDistrust = "tls-distrust", "it did not trust the upstream's certificate",
    /// Closed in the handshake.
    TlsClosed = "tls-closed", "the upstream closed in the TLS handshake",
    /// The upstream answered the handshake in plain text.
    TlsToPlain = "tls-to-plain", "the upstream answered the TLS handshake in plain text",
    /// FIN before any byte.
    Eof = "eof", "the upstream closed before any byte of its answer",
    /// RST before any byte.
    Reset = "reset", "the upstream reset before any byte of its answer",
    /// FIN or RST after a part of the header.
    MidHeader = "mid-header", "the upstream broke off within the answer's header",
    /// Nothing before the read timeout.
    NoAnswer = "no-answer", "no answer came in time",
    /// The header did not fit the buffer.
    TooBig = "too-big", "the answer's header did not fit its buffer",
    /// The header was not HTTP.
    Malformed = "malformed", "the answer was not valid HTTP",
    /// The upstream's own error.
    Relayed = "relayed", "the upstream itself answered the error",
    /// The body broke off.
    BodyCut = "body-cut", "the upstream broke off within the answer's body",
    /// No more of the body came in time.
    BodyStalled = "body-stalled", "the upstream fell silent within the answer's body",
}

impl Sight {
    /// The error that `connect(2)` or `socket(2)` mostly gives then.
    #[must_use]
    pub const fn errno(self) -> u16 {
        match self {
            Self::NoDescriptors => 24,
            Self::NoMemory => 105,
            Self::NoPorts => 99,
            Self::Denied | Self::UnixDenied => 13,
            Self::Unreachable => 113,
            Self::Refused | Self::UnixRefused => 111,
            Self::UnixMissing => 2,
            Self::UnixFull => 11,
            Self::NameAbsent
            | Self::NameFailed
            | Self::NameTimeout
            | Self::OwnRule
            | Self::NoLive
            | Self::ConnectTimeout
            | Self::TlsAlert
            | Self::TlsDistrust
            | Self::TlsClosed
            | Self::TlsToPlain
            | Self::Eof
            | Self::Reset
            | Self::MidHeader
            | Self::NoAnswer
            | Self::TooBig
            | Self::Malformed
            | Self::Relayed
            | Self::BodyCut
            | Self::BodyStalled => 0,
        }
    }
}

/// A process that ends: its listener refuses, its connections break.
const ENDED: &[Sight] = &[
    Sight::Refused,
    Sight::Eof,
    Sight::Reset,
    Sight::MidHeader,
    Sight::BodyCut,
];

/// How each cause can look to the gateway, in the catalogue's order; every sight for those that
/// claim nothing.
const SIGHTS: [(Cause, &[Sight]); Cause::ALL.len()] = [
    (Cause::OomCgroup, ENDED),
    (Cause::OomHost, ENDED),
    (Cause::OomUserspace, ENDED),
    (Cause::Crash, ENDED),
    (Cause::Exit, ENDED),
    (Cause::KilledByParent, ENDED),
    (Cause::KilledByRuntime, ENDED),
    (Cause::KilledByUser, ENDED),
    (Cause::Killed, ENDED),
    (Cause::ListenerAbsent, &[Sight::Refused]),
    (Cause::ListenerOtherPort, &[Sight::Refused]),
    (Cause::ListenerOtherAddress, &[Sight::Refused]),
    (Cause::ListenerClosed, &[Sight::Refused]),
    (Cause::ListenerClosedQueued, &[Sight::Reset]),
    (
        Cause::BacklogFull,
        &[Sight::ConnectTimeout, Sight::NoAnswer, Sight::Reset],
    ),
    (Cause::ListenerNotReady, &[Sight::Refused]),
    (Cause::ListenerNotAccepting, &[Sight::NoAnswer]),
    (Cause::ListenerFdExhausted, &[Sight::NoAnswer]),
    (Cause::AppClosedWithoutAnswer, &[Sight::Eof]),
    (Cause::AppClosedMidHeader, &[Sight::MidHeader]),
    (Cause::AppClosedMidBody, &[Sight::BodyCut]),
    (Cause::AppResetUnread, &[Sight::Reset, Sight::BodyCut]),
    (Cause::AppResetLinger, &[Sight::Reset, Sight::BodyCut]),
    (Cause::AppStalled, &[Sight::NoAnswer, Sight::BodyStalled]),
    (Cause::KeepaliveRace, &[Sight::Reset, Sight::Eof]),
    (Cause::KeepaliveMiddlebox, &[Sight::Reset, Sight::NoAnswer]),
    (
        Cause::FilteredDrop,
        &[Sight::ConnectTimeout, Sight::NoAnswer, Sight::Reset],
    ),
    (
        Cause::FilteredReject,
        &[Sight::Refused, Sight::Unreachable, Sight::Reset],
    ),
    (
        Cause::ResetByMiddlebox,
        &[Sight::Reset, Sight::MidHeader, Sight::BodyCut],
    ),
    (
        Cause::UnreachableRoute,
        &[Sight::Unreachable, Sight::Denied],
    ),
    (
        Cause::UnreachableHost,
        &[Sight::Unreachable, Sight::Refused, Sight::NoAnswer],
    ),
    (
        Cause::UnreachableIcmp,
        &[Sight::Unreachable, Sight::Refused, Sight::NoAnswer],
    ),
    (
        Cause::Lost,
        &[Sight::ConnectTimeout, Sight::NoAnswer, Sight::Reset],
    ),
    (Cause::HeaderTooBig, &[Sight::TooBig]),
    (Cause::Malformed, &[Sight::Malformed]),
    (Cause::NotHttp, &[Sight::Malformed]),
    (
        Cause::PlainToTls,
        &[Sight::Malformed, Sight::Eof, Sight::Reset],
    ),
    (Cause::TlsToPlain, &[Sight::TlsToPlain, Sight::TlsClosed]),
    (Cause::TlsAlert, &[Sight::TlsAlert]),
    (Cause::TlsDistrust, &[Sight::TlsDistrust]),
    (Cause::TlsClosed, &[Sight::TlsClosed]),
    (Cause::RelayedUpstream, &[Sight::Relayed]),
    (Cause::PortsExhausted, &[Sight::NoPorts]),
    (Cause::NoLiveUpstream, &[Sight::NoLive]),
    (Cause::OwnAnswer, &[Sight::OwnRule]),
    (Cause::FdExhausted, &[Sight::NoDescriptors]),
    (Cause::NoMemory, &[Sight::NoMemory]),
    (Cause::ProxyDenied, &[Sight::Denied]),
    (Cause::UnixMissing, &[Sight::UnixMissing]),
    (Cause::UnixNoListener, &[Sight::UnixRefused]),
    (Cause::UnixBacklogFull, &[Sight::UnixFull]),
    (Cause::UnixDenied, &[Sight::UnixDenied]),
    (Cause::DnsNxdomain, &[Sight::NameAbsent]),
    (Cause::DnsServfail, &[Sight::NameFailed]),
    (Cause::DnsTimeout, &[Sight::NameTimeout]),
    (Cause::UnknownEvidenceLost, &Sight::ALL),
    (Cause::UnknownAttachedLate, &Sight::ALL),
    (Cause::UnknownHookMissing, &Sight::ALL),
    (Cause::UnknownUnexplained, &Sight::ALL),
];

/// How a cause can look to the gateway.
#[must_use]
pub const fn sights(cause: Cause) -> &'static [Sight] {
    SIGHTS[cause as usize].1
}

/// What the gateway of this answer saw.
#[must_use]
pub(crate) fn sight(evidence: &Evidence, cause: Cause) -> Option<Sight> {
    let own = evidence.deciding();
    if own.is_some_and(|own| is_in_body(evidence.symptom, own)) {
        return (cause == Cause::AppStalled).then_some(Sight::BodyStalled);
    }
    if cause == Cause::AppStalled {
        return Some(Sight::NoAnswer);
    }
    if let [only] = sights(cause) {
        return Some(*only);
    }
    let flow = &evidence.deciding()?.flow;
    // Within TLS the words depend on how far the handshake came.
    if flow.established && !is_http(flow) {
        return None;
    }
    let begun = flow.heard_bytes > 0;
    let errno = if flow.error.0 == 0 {
        flow.soft_error.0
    } else {
        flow.error.0
    };
    match (evidence.symptom, begun, errno) {
        (Symptom::Refused, _, _) => Some(Sight::Refused),
        (Symptom::Unreachable, _, _) => Some(Sight::Unreachable),
        (Symptom::ConnectTimeout, _, _) => Some(Sight::ConnectTimeout),
        (Symptom::ConnectError, _, 99) => Some(Sight::NoPorts),
        (Symptom::ConnectError, _, 1 | 13) => Some(Sight::Denied),
        (Symptom::Eof | Symptom::Reset, true, _) => Some(Sight::MidHeader),
        (Symptom::Eof, false, _) => Some(Sight::Eof),
        (Symptom::Reset, false, _) => Some(Sight::Reset),
        (Symptom::NoAnswer, _, _) => Some(Sight::NoAnswer),
        (Symptom::Relayed, _, _) => Some(Sight::Relayed),
        (Symptom::Truncated, _, _) => Some(Sight::BodyCut),
        (Symptom::TlsFailure, true, _) => Some(Sight::TlsToPlain),
        (Symptom::TlsFailure, false, _) => Some(Sight::TlsClosed),
        // Its log tells more than was seen.
        (Symptom::ConnectError | Symptom::BadAnswer | Symptom::NoAttempt, _, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sights_are_in_the_catalogues_order() {
        let order: Vec<Cause> = SIGHTS.iter().map(|(cause, _)| *cause).collect();
        assert_eq!(order, Cause::ALL);
    }
}
