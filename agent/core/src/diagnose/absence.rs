//! Which causes are claimed because something was not seen: lost records take those away.

use super::protocol;
use crate::cause::Cause;
use crate::evidence::Evidence;
use crate::processes::{Ending, Way};
use crate::silences::is_in_body;
use crate::verdict::Symptom;

/// When a cause rests on absence.
#[derive(Clone, Copy)]
enum Rest {
    Always,
    Never,
    /// Unless the firewall's drop was seen.
    UnlessDropped,
    /// Unless the sender was never its parent: a master that crashes takes its workers along.
    UnlessStranger,
    /// Its closer lives, unless the protocol itself was heard.
    UnlessHeard,
    /// Its closer lives: that is, no death of it was seen.
    WhileAlive,
}

/// In the catalogue's order, one for each.
const RESTS: [(Cause, Rest); Cause::ALL.len()] = [
    (Cause::OomCgroup, Rest::Never),
    (Cause::OomHost, Rest::Never),
    (Cause::OomUserspace, Rest::Never),
    (Cause::Crash, Rest::Never),
    (Cause::Exit, Rest::Always),
    (Cause::KilledByParent, Rest::Never),
    (Cause::KilledByRuntime, Rest::Never),
    (Cause::KilledByUser, Rest::UnlessStranger),
    (Cause::Killed, Rest::Always),
    (Cause::ListenerAbsent, Rest::Always),
    (Cause::ListenerOtherPort, Rest::Always),
    (Cause::ListenerOtherAddress, Rest::Always),
    (Cause::ListenerClosed, Rest::WhileAlive),
    (Cause::ListenerClosedQueued, Rest::WhileAlive),
    (Cause::BacklogFull, Rest::Never),
    (Cause::ListenerNotReady, Rest::Always),
    (Cause::ListenerNotAccepting, Rest::Never),
    (Cause::ListenerFdExhausted, Rest::Never),
    (Cause::AppClosedWithoutAnswer, Rest::WhileAlive),
    (Cause::AppClosedMidHeader, Rest::WhileAlive),
    (Cause::AppClosedMidBody, Rest::WhileAlive),
    (Cause::AppResetUnread, Rest::WhileAlive),
    (Cause::AppResetLinger, Rest::WhileAlive),
    (Cause::AppStalled, Rest::Never),
    (Cause::KeepaliveRace, Rest::WhileAlive),
    (Cause::KeepaliveMiddlebox, Rest::Always),
    (Cause::FilteredDrop, Rest::Never),
    (Cause::FilteredReject, Rest::UnlessDropped),
    (Cause::ResetByMiddlebox, Rest::Always),
    (Cause::UnreachableRoute, Rest::Never),
    (Cause::UnreachableHost, Rest::Never),
    (Cause::UnreachableIcmp, Rest::Always),
    (Cause::Lost, Rest::Always),
    (Cause::HeaderTooBig, Rest::Never),
    (Cause::Malformed, Rest::Never),
    (Cause::NotHttp, Rest::Never),
    (Cause::PlainToTls, Rest::UnlessHeard),
    (Cause::TlsToPlain, Rest::UnlessHeard),
    (Cause::TlsAlert, Rest::Never),
    (Cause::TlsDistrust, Rest::Never),
    (Cause::TlsClosed, Rest::WhileAlive),
    (Cause::RelayedUpstream, Rest::Never),
    (Cause::PortsExhausted, Rest::Never),
    (Cause::NoLiveUpstream, Rest::Always),
    (Cause::OwnAnswer, Rest::Always),
    (Cause::FdExhausted, Rest::Never),
    (Cause::NoMemory, Rest::Never),
    (Cause::ProxyDenied, Rest::Never),
    (Cause::UnixMissing, Rest::Always),
    (Cause::UnixNoListener, Rest::Always),
    (Cause::UnixBacklogFull, Rest::Never),
    (Cause::UnixDenied, Rest::Never),
    (Cause::DnsNxdomain, Rest::Always),
    (Cause::DnsServfail, Rest::Always),
    (Cause::DnsTimeout, Rest::Always),
    (Cause::UnknownEvidenceLost, Rest::Never),
    (Cause::UnknownAttachedLate, Rest::Never),
    (Cause::UnknownHookMissing, Rest::Never),
    (Cause::UnknownUnexplained, Rest::Never),
];

/// Whether the cause is claimed because something was not seen.
#[must_use]
pub fn rests_on_absence(cause: Cause, evidence: &Evidence) -> bool {
    // Whether another had listened, or died before, is in no record of the refusal itself.
    let refused = evidence.symptom == Symptom::Refused && evidence.place.is_some();
    // A client that hung up and a gateway that stops would explain it too.
    let own = evidence.deciding();
    let gave_up = own.is_some_and(|own| is_in_body(evidence.symptom, own));
    if refused || gave_up || evidence.former.is_some() {
        return true;
    }
    match RESTS[cause as usize].1 {
        Rest::Always => true,
        Rest::Never => false,
        Rest::UnlessStranger => evidence.ending.as_ref().is_some_and(was_parent),
        Rest::UnlessDropped => evidence.drop.is_none(),
        Rest::UnlessHeard => evidence.ending.is_none() && !protocol::is_heard(evidence),
        Rest::WhileAlive => evidence.ending.is_none(),
    }
}

fn was_parent(ending: &Ending) -> bool {
    match &ending.way {
        Way::Signalled { signal, .. } => signal.sender.pid == ending.task.parent,
        Way::Oom(_) | Way::Crash { .. } | Way::Exit(_) | Way::Killed(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rests_are_in_the_catalogues_order() {
        let order: Vec<Cause> = RESTS.iter().map(|(cause, _)| *cause).collect();
        assert_eq!(order, Cause::ALL);
    }
}
