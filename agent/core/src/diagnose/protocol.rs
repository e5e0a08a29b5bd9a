//! Answers that a gateway could not use, and TLS handshakes that failed.

use crate::attempts::{Attempt, is_header_complete, is_header_huge, is_http};
use crate::cause::Cause;
use crate::connections::OtherEnd;
use crate::diagnose::{Judgement, UNEXPLAINED, inferred, proven};
use crate::ends::was_left;
use crate::event::{Flow, How};
use crate::evidence::Evidence;
use crate::foreign;
use crate::http;
use crate::tls::{self, Alert, Stage};

/// The smallest header buffer among common gateways' defaults: nginx's page.
const BUFFER: u64 = 4096;
const KIB: u64 = 1024;

/// Bytes came in answer to a request in clear, and the gateway hung up because of them.
#[must_use]
pub fn bad_answer(flow: &Flow) -> Judgement {
    if !is_http(flow) {
        return UNEXPLAINED;
    }
    if let Some(cause) = misfit(flow) {
        return proven(cause);
    }
    let hung_up = !flow.fin_heard && !flow.reset_heard;
    if is_header_huge(flow) && hung_up {
        return inferred(Cause::HeaderTooBig);
    }
    if is_header_complete(flow) == Some(true) {
        return UNEXPLAINED;
    }
    let read = flow.heard_bytes.saturating_sub(flow.unread.into());
    let looked_at = if flow.header_scanned {
        u64::from(flow.scanned)
    } else {
        0
    };
    match (fills_a_buffer(read), looked_at) {
        // As much as a buffer holds, without an end.
        (true, _) if looked_at >= read => proven(Cause::HeaderTooBig),
        (true, BUFFER..) => proven(Cause::HeaderTooBig),
        (true, _) if flow.unread > 0 && read >= BUFFER => inferred(Cause::HeaderTooBig),
        (false, BUFFER..) if read >= BUFFER => inferred(Cause::HeaderTooBig),
        (true | false, _) => UNEXPLAINED,
    }
}

/// What is wrong with an answer's first bytes.
#[must_use]
pub fn misfit(flow: &Flow) -> Option<Cause> {
    let head = &flow.heard_head;
    if tls::heard_alert(flow).is_some() {
        return Some(Cause::PlainToTls);
    }
    if foreign::protocol(&head.0).is_some() {
        return Some(Cause::NotHttp);
    }
    http::fault(head).map(|_| Cause::Malformed)
}

/// Gateways read headers into buffers of a round size (nginx `proxy_buffer_size`, HAProxy
/// `tune.bufsize` less `tune.maxrewrite`).
const fn fills_a_buffer(read: u64) -> bool {
    read >= KIB && read.is_multiple_of(KIB)
}

/// What the gateway's own socket tells of a handshake that failed; `None` where the other end closed.
#[must_use]
pub fn handshake(flow: &Flow) -> Option<Judgement> {
    let alert = tls::heard_alert(flow).filter(|alert| *alert != Alert::CLOSE_NOTIFY);
    if tls::refused_before_asked(flow) {
        return Some(inferred(Cause::TlsAlert));
    }
    let stage = tls::stage(flow)?;
    let came_first = match stage {
        Stage::Greeted | Stage::Finished => true,
        // What came after the gateway's own alert is counted, and explains nothing.
        Stage::Refused(_) | Stage::Sealed => flow.heard_bytes == 0,
    };
    if alert.is_some() && came_first {
        return Some(proven(Cause::TlsAlert));
    }
    let head = &flow.heard_head.0;
    let is_first = matches!(stage, Stage::Greeted | Stage::Refused(_));
    if is_first && came_first && !head.is_empty() && !tls::is_record(head) {
        let named = foreign::protocol(head).is_some();
        let cause = if named {
            Cause::NotHttp
        } else {
            Cause::TlsToPlain
        };
        return Some(proven(cause));
    }
    match stage {
        Stage::Greeted => (!was_left(flow)).then_some(UNEXPLAINED),
        Stage::Refused(alert) if alert.is_distrust() => Some(proven(Cause::TlsDistrust)),
        Stage::Refused(Alert::CLOSE_NOTIFY | Alert::USER_CANCELED) => Some(UNEXPLAINED),
        Stage::Refused(_) => Some(proven(Cause::TlsAlert)),
        Stage::Finished if tls::heard_sealed_alert(flow) => Some(inferred(Cause::TlsAlert)),
        Stage::Sealed if tls::answers_sealed_alert(flow) => Some(inferred(Cause::TlsAlert)),
        Stage::Finished | Stage::Sealed => {
            let first = flow.fin_at.or(flow.reset_at).zip(flow.said_at);
            let answers = was_left(flow) && first.is_none_or(|(end, said)| end <= said);
            let hung_up = matches!(tls::stage(flow), Some(Stage::Sealed)) && !answers;
            (hung_up || !was_left(flow)).then_some(inferred(Cause::TlsDistrust))
        }
    }
}

/// A living process of the upstream closed the connection, and the protocols did not fit.
#[must_use]
pub fn closed(attempt: &Attempt, end: &OtherEnd) -> Option<Judgement> {
    let flow = &attempt.flow;
    let only_tls = end.flow.speaks_tls && !end.flow.speaks_http;
    let only_http = end.flow.speaks_http && !end.flow.speaks_tls;
    let nothing_said = flow.heard_bytes == 0 && end.flow.said == 0;
    let unread = u64::from(end.flow.unread) >= end.flow.heard_bytes;
    let failed = tls::is_handshake_failure(flow, attempt.at);
    match end.flow.how {
        How::Queued | How::Open | How::Released => None,
        How::Fin | How::Unread if failed && nothing_said && only_http => {
            Some(inferred(Cause::TlsToPlain))
        }
        // Without a look at what had come: that is no matter of protocols.
        How::Unread if failed && nothing_said && unread => None,
        How::Fin | How::Unread if failed => Some(proven(Cause::TlsClosed)),
        How::Fin | How::Unread if is_http(flow) && nothing_said && only_tls && flow.said == 1 => {
            Some(inferred(Cause::PlainToTls))
        }
        How::Fin | How::Unread | How::Linger => {
            let foreign = flow.heard_bytes > 0 && is_http(flow);
            foreign.then(|| misfit(flow)).flatten().map(proven)
        }
    }
}

/// Whether bytes of the upstream show it, not only that it closed.
#[must_use]
pub fn is_heard(evidence: &Evidence) -> bool {
    evidence
        .deciding()
        .is_some_and(|attempt| !attempt.flow.heard_head.0.is_empty())
}
