//! TLS connections that a living process of the upstream ended: whether a request was whole, or an
//! answer begun, is encrypted. Order and sizes show something, and prove nothing.

use super::{IDLE_MS, Judgement, UNEXPLAINED, came_lately, idled, inferred};
use crate::attempts::Attempt;
use crate::cause::Cause;
use crate::connections::OtherEnd;
use crate::ends::is_unread;
use crate::event::{Flow, How};
use crate::tls::{self, Stage};

/// Session tickets are one word, a farewell or an answer the next.
const TICKETS: u32 = 2;
/// A certificate and its signature are longer than a request may be that surely is none.
const CERTIFICATE: u64 = 512;

/// The upstream's holder lives and closed.
pub(super) fn closed(attempt: &Attempt, end: &OtherEnd, timer_struck: Option<bool>) -> Judgement {
    let flow = &attempt.flow;
    let silent = tls::is_past_handshake(flow) && flow.heard_bytes == 0;
    match end.flow.how {
        How::Open | How::Released | How::Queued => UNEXPLAINED,
        How::Fin | How::Unread | How::Linger if !flow.asked => UNEXPLAINED,
        How::Unread if raced(flow, end) && timer_struck != Some(true) => UNEXPLAINED,
        How::Unread if came_late(flow, end) && timer_struck.is_none() => UNEXPLAINED,
        How::Unread if came_late(flow, end) && timer_struck == Some(true) => {
            inferred(Cause::KeepaliveRace)
        }
        How::Fin | How::Unread if raced(flow, end) => inferred(Cause::KeepaliveRace),
        How::Fin if said_nothing_since(flow, end) => inferred(Cause::AppClosedWithoutAnswer),
        How::Fin if reached(flow, end) && answered_nothing(flow, Some(end)) => {
            inferred(Cause::AppClosedWithoutAnswer)
        }
        How::Unread if silent && reached(flow, end) => inferred(Cause::AppResetUnread),
        How::Linger if silent && reached(flow, end) => inferred(Cause::AppResetLinger),
        How::Fin | How::Unread | How::Linger => UNEXPLAINED,
    }
}

/// Its end was not told of: an encrypted farewell may have said it before. `gone` where a socket that
/// was closed in good order, having read all, was what answered the gateway's next packet.
pub(super) fn unseen(flow: &Flow, gone: bool) -> Option<Judgement> {
    if left_before(flow) {
        return Some(inferred(Cause::KeepaliveRace));
    }
    // Too young for an idle timer: it is an answer to what was asked.
    let is_answer = tls::is_young(flow) && answered_nothing(flow, None);
    let left = gone && tls::heard_tickets(flow);
    let said = is_answer && (left || tls::heard_sealed_alert(flow));
    said.then_some(inferred(Cause::AppClosedWithoutAnswer))
}

/// The farewell had come when the request left.
fn left_before(flow: &Flow) -> bool {
    tls::is_past_handshake(flow) && tls::answers_sealed_alert(flow) && flow.heard > TICKETS
}

/// The request left when the connection had idled, and the upstream let go before it came or was read.
fn raced(flow: &Flow, end: &OtherEnd) -> bool {
    if !tls::is_past_handshake(flow) || flow.heard_bytes > 0 && !tls::heard_sealed_alert(flow) {
        return false;
    }
    let idle = left_before(flow) || idled(flow) && end.flow.quiet_ms >= IDLE_MS;
    let just_came = end
        .flow
        .heard_at
        .is_some_and(|heard| end.at.since(heard).as_millis() < u128::from(IDLE_MS));
    match end.flow.how {
        How::Fin => !reached(flow, end) && (idle || idled(flow)),
        How::Unread => idle && just_came && is_unread(&end.flow),
        How::Open | How::Linger | How::Queued | How::Released => false,
    }
}

/// The request waited for a busy upstream, no longer than an idle timer may be late there.
fn came_late(flow: &Flow, end: &OtherEnd) -> bool {
    let idle = idled(flow) && end.flow.quiet_ms >= IDLE_MS;
    let silent = tls::is_past_handshake(flow) && flow.heard_bytes == 0;
    idle && silent && is_unread(&end.flow) && came_lately(end)
}

/// Whether the gateway's last message came to the upstream's end.
fn reached(flow: &Flow, end: &OtherEnd) -> bool {
    let came = flow.said_at.zip(end.flow.heard_at);
    came.is_some_and(|(said, heard)| heard >= said)
}

/// Whether all that was asked came to the upstream's end, which read it and said no word since: what the
/// gateway heard meanwhile had left before.
fn said_nothing_since(flow: &Flow, end: &OtherEnd) -> bool {
    let end = &end.flow;
    let answered_handshake = end.said >= TICKETS;
    let is_all = tls::is_all_asked(flow, end.heard_bytes, answered_handshake);
    // Some turn clients away before they ask.
    let is_little = flow.heard_bytes == 0
        || tls::heard_ticket(flow)
        || tls::heard_tickets(flow)
        || tls::heard_sealed_alert(flow);
    is_all && is_little && !end.late && end.unread == 0
}

/// Whether what came after the request is no answer: nothing, session tickets, or a farewell.
fn answered_nothing(flow: &Flow, end: Option<&OtherEnd>) -> bool {
    let farewell = tls::heard_sealed_alert(flow) && flow.heard_bytes > 0;
    if tls::is_past_handshake(flow) {
        let may_be_certificate = flow.said == 3 && flow.said_bytes > CERTIFICATE;
        return flow.heard_bytes == 0 || farewell && !may_be_certificate;
    }
    if tls::stage(flow) != Some(Stage::Finished) || !flow.asked {
        return false;
    }
    // More came behind the handshake than it answered: that was the request.
    let came_last =
        end.is_some_and(|end| end.flow.said >= TICKETS && tls::is_longer(end.flow.heard_bytes));
    match () {
        () if tls::heard_sealed_alert(flow) => !tls::said_certificate(flow),
        () if came_last => tls::heard_tickets(flow) || tls::heard_ticket(flow),
        () => tls::heard_tickets(flow),
    }
}
