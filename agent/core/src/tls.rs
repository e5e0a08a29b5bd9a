//! TLS as far as a verdict needs it: the headers of records, and what travels in clear
//! (RFC 8446, 5.1 and 6; RFC 5246, 7.2).

use std::time::Duration;

use crate::ends::was_left;
use crate::event::Flow;
use crate::units::{Head, Timestamp};

// ContentType (RFC 8446, 5.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

const CLIENT_HELLO: u8 = 1;
/// An alert's two bytes, encrypted in TLS 1.3: the content type and a tag of 16 bytes more.
const SEALED_ALERT: u16 = 19;
const HEADER: u64 = 5;
/// A Certificate without any, with the Finished of SHA-384 behind it, encrypted as one record or two.
const NO_CERTIFICATE: (u16, u16) = (25, 77);
/// A gateway that does not like what it got says so at once; a spare connection idles. A judgement of
/// probe502's own.
const SWIFT: Duration = Duration::from_millis(300);
/// A Finished of SHA-256 or SHA-384 alone, encrypted.
const FINISHED: [u16; 2] = [53, 69];
/// A ChangeCipherSpec of six bytes and such a Finished: what a client without a certificate says.
const HANDSHAKES: [u64; 2] = [6 + HEADER + 53, 6 + HEADER + 69];
/// An alert's record in TLS 1.2 with AES-GCM; in TLS 1.3 it is shorter.
const LONGEST_ALERT: u64 = 31;

/// One record: its type, its length, and the first two bytes of it where they are in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    kind: u8,
    length: u16,
    clear: [Option<u8>; 2],
}

/// An alert in clear: its description (RFC 8446, 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert(pub u8);

impl Alert {
    /// A polite end, no error.
    pub const CLOSE_NOTIFY: Self = Self(0);
    /// The client does not want it any more.
    pub const USER_CANCELED: Self = Self(90);

    /// Whether it says that a certificate was not accepted.
    #[must_use]
    pub const fn is_distrust(self) -> bool {
        matches!(self.0, 42..=46 | 48 | 113)
    }

    /// Its name in the registry of TLS alerts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            22 => "record_overflow",
            40 => "handshake_failure",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            109 => "missing_extension",
            110 => "unsupported_extension",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            _ => "an alert without a name",
        }
    }
}

/// How a record begins, or the four bytes that are there of it.
#[must_use]
pub const fn is_record(bytes: &[u8]) -> bool {
    matches!(bytes, [CHANGE_CIPHER_SPEC..=DATA, 3, 0..=4, _, ..])
}

/// The headers of the records, and behind each only what says its meaning: a handshake message's
/// type, an alert in clear.
#[must_use]
pub fn condense(bytes: &[u8]) -> Vec<u8> {
    let (mut kept, mut rest) = (Vec::new(), bytes);
    while let [CHANGE_CIPHER_SPEC..=DATA, 3, 0..=4, high, low, payload @ ..] = rest {
        let length = u16::from_be_bytes([*high, *low]);
        let shown = shown(rest[0], length).min(payload.len());
        kept.extend_from_slice(&rest[..5 + shown]);
        rest = payload.get(usize::from(length)..).unwrap_or_default();
    }
    if kept.is_empty() {
        kept.extend(bytes.iter().take(4));
    }
    kept
}

const fn shown(kind: u8, length: u16) -> usize {
    match (kind, length) {
        (HANDSHAKE, _) => 1,
        (ALERT, 2) => 2,
        (_, _) => 0,
    }
}

/// The records of a head that was condensed.
fn records(head: &Head) -> Vec<Record> {
    let (mut found, mut rest) = (Vec::new(), head.0.as_slice());
    while let [
        kind @ CHANGE_CIPHER_SPEC..=DATA,
        3,
        0..=4,
        high,
        low,
        payload @ ..,
    ] = rest
    {
        let length = u16::from_be_bytes([*high, *low]);
        let shown = shown(*kind, length).min(payload.len());
        let byte = |index: usize| payload[..shown].get(index).copied();
        found.push(Record {
            kind: *kind,
            length,
            clear: [byte(0), byte(1)],
        });
        rest = &payload[shown..];
    }
    found
}

/// The alert that was heard, where it is in clear and came first.
#[must_use]
pub fn heard_alert(flow: &Flow) -> Option<Alert> {
    alert(&flow.heard_head)
}

fn alert(head: &Head) -> Option<Alert> {
    let first = records(head).first().copied()?;
    let is_clear = first.kind == ALERT && first.length == 2;
    first.clear[1].filter(|_| is_clear).map(Alert)
}

/// Whether the gateway speaks TLS on it.
#[must_use]
pub fn is_spoken(flow: &Flow) -> bool {
    is_record(&flow.said_head.0)
}

/// The lengths of what the gateway said encrypted behind its ChangeCipherSpec.
fn sealed_behind(flow: &Flow) -> Option<Vec<u16>> {
    let said = records(&flow.said_head);
    let (first, rest) = said.split_first()?;
    let sealed = rest.iter().take_while(|one| one.kind == DATA);
    (first.kind == CHANGE_CIPHER_SPEC).then(|| sealed.map(|one| one.length).collect())
}

/// Whether the server had asked for a certificate: more than a Finished left.
#[must_use]
pub fn said_certificate(flow: &Flow) -> bool {
    let sealed = sealed_behind(flow);
    sealed.is_some_and(|it| it.first().is_some_and(|first| !FINISHED.contains(first)))
}

/// Whether the server had asked for a certificate, and the gateway had none to show.
#[must_use]
pub fn said_no_certificate(flow: &Flow) -> bool {
    match sealed_behind(flow).as_deref() {
        Some([first, second, ..]) if *first == NO_CERTIFICATE.0 => FINISHED.contains(second),
        Some([first, ..]) => *first == NO_CERTIFICATE.1 || *first == NO_CERTIFICATE.1 - 16,
        Some([]) | None => false,
    }
}

/// Whether all that was heard is an alert that is encrypted. What an alert of the gateway's answers is
/// kept, but no longer counted.
#[must_use]
pub fn heard_sealed_alert(flow: &Flow) -> bool {
    let heard = records(&flow.heard_head);
    let is_alert = |one: &Record| {
        one.kind == ALERT && one.length != 2 || one.kind == DATA && one.length == SEALED_ALERT
    };
    let counted = [0, total(&heard)].contains(&flow.heard_bytes);
    matches!(heard[..], [one] if is_alert(&one)) && counted
}

/// Whether all that came after the request is an encrypted alert: TLS's own end of file.
#[must_use]
pub fn heard_farewell(flow: &Flow) -> bool {
    flow.asked && flow.heard_bytes > 0 && heard_sealed_alert(flow)
}

/// Whether an encrypted alert came before the gateway's last message: what came after it is counted.
#[must_use]
pub fn answers_sealed_alert(flow: &Flow) -> bool {
    flow.heard_bytes == 0 && heard_sealed_alert(flow)
}

/// Whether the server ended the handshake as the request was about to leave: its first word after its
/// own part of it was an encrypted alert.
#[must_use]
pub fn refused_before_asked(flow: &Flow) -> bool {
    let swift = flow.established_at.zip(flow.heard_at);
    let swift = swift.is_some_and(|(from, to)| to.since(from) <= SWIFT);
    flow.asked
        && !flow.late
        && stage(flow).is_none()
        && answers_sealed_alert(flow)
        && flow.heard <= 2
        && swift
}

/// Whether the server's only word after the gateway's part of the handshake may refuse a certificate.
#[must_use]
pub fn may_be_refused(flow: &Flow) -> bool {
    stage(flow) == Some(Stage::Finished) && said_certificate(flow) && heard_sealed_alert(flow)
}

/// Whether the request was asked by itself, behind a handshake that the server had answered: what it
/// says and does from there on is the application's.
#[must_use]
pub fn is_past_handshake(flow: &Flow) -> bool {
    let first = records(&flow.said_head).first().copied();
    // A Finished that no ChangeCipherSpec precedes: the server had asked for another key.
    let is_data = first.is_some_and(|one| one.kind == DATA && !FINISHED.contains(&one.length));
    let is_first_word = answers_sealed_alert(flow) && flow.heard <= 2;
    flow.asked && !flow.late && is_data && flow.heard >= 2 && !is_first_word
}

/// Whether all that came is one record that is no alert: a session ticket, or an answer's part.
#[must_use]
pub fn heard_ticket(flow: &Flow) -> bool {
    first_of_several(flow, 1)
}

/// Whether all that came is two records of one size, as two session tickets are.
#[must_use]
pub fn heard_tickets(flow: &Flow) -> bool {
    first_of_several(flow, 2)
}

fn first_of_several(flow: &Flow, count: u64) -> bool {
    let heard = records(&flow.heard_head);
    heard.first().is_some_and(|one| {
        let sealed = one.kind == DATA && one.length > SEALED_ALERT;
        sealed && flow.heard_bytes == count * (HEADER + u64::from(one.length))
    })
}

/// Whether so many bytes, the last of those that came to the server, are all that was asked on a
/// connection: nothing but the gateway's farewell is missing behind them, and nothing but its part of the
/// handshake, where the server may have `answered_handshake`, before.
#[must_use]
pub fn is_all_asked(flow: &Flow, came: u64, answered_handshake: bool) -> bool {
    let Some(missing) = flow
        .said_bytes
        .checked_sub(came)
        .filter(|_| is_longer(came))
    else {
        return false;
    };
    let behind_handshake = HANDSHAKES
        .iter()
        .filter(|_| answered_handshake && stage(flow) == Some(Stage::Finished))
        .any(|shake| missing.checked_sub(*shake).is_some_and(is_farewell));
    let is_known = is_past_handshake(flow) || ended_handshake(flow);
    flow.asked && is_known && (is_farewell(missing) || behind_handshake)
}

/// Whether the gateway's last message began with its Finished, and no certificate lay before that.
fn ended_handshake(flow: &Flow) -> bool {
    let said = records(&flow.said_head);
    let second = said.get(1).copied();
    let is_finished =
        |one: Record| one.kind == HANDSHAKE || one.kind == DATA && FINISHED.contains(&one.length);
    stage(flow) == Some(Stage::Finished) && second.is_some_and(is_finished)
}

/// Whether so many bytes are no more than an alert's record, or none.
const fn is_farewell(bytes: u64) -> bool {
    bytes <= LONGEST_ALERT
}

/// Whether so many bytes are more than a farewell.
#[must_use]
pub fn is_longer(bytes: u64) -> bool {
    bytes > HEADER + u64::from(SEALED_ALERT)
}

/// Whether the gateway's last message left soon after the connection came about.
#[must_use]
pub fn is_young(flow: &Flow) -> bool {
    let said = flow.established_at.zip(flow.said_at);
    said.is_some_and(|(from, to)| to.since(from) <= SWIFT)
}

fn total(records: &[Record]) -> u64 {
    records
        .iter()
        .map(|one| HEADER + u64::from(one.length))
        .sum()
}

/// How far the gateway had come when it said its last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It had said its ClientHello.
    Greeted,
    /// It had said its Finished.
    Finished,
    /// It had ended the handshake with an alert in clear.
    Refused(Alert),
    /// It had said an encrypted alert: in the place of its Finished, or as a farewell.
    Sealed,
}

/// The stage; `None` where it is no TLS, or past the handshake, or older than was seen.
#[must_use]
pub fn stage(flow: &Flow) -> Option<Stage> {
    let said = records(&flow.said_head);
    let greets = |one: &Record| one.kind == HANDSHAKE && one.clear[0] == Some(CLIENT_HELLO);
    if flow.said == 0 || said.is_empty() {
        return None;
    }
    if said.iter().any(greets) {
        return Some(Stage::Greeted);
    }
    let behind = said.iter().find(|one| one.kind != CHANGE_CIPHER_SPEC);
    match behind {
        _ if flow.late => None,
        Some(one) if one.kind == ALERT && one.length == 2 => {
            one.clear[1].map(Alert).map(Stage::Refused)
        }
        Some(one) if one.kind == ALERT => Some(Stage::Sealed),
        Some(one) if one.kind == DATA && one.length == SEALED_ALERT => {
            (total(&said) == flow.said_bytes).then_some(Stage::Sealed)
        }
        Some(one) if one.kind == HANDSHAKE => Some(Stage::Finished),
        Some(_) | None => said
            .first()
            .filter(|one| one.kind == CHANGE_CIPHER_SPEC)
            .map(|_| Stage::Finished),
    }
}

/// Whether a connection, let go of at a moment, failed before anything was asked on it. A spare
/// connection is no failure: its end comes long after its handshake.
#[must_use]
pub fn is_handshake_failure(flow: &Flow, at: Timestamp) -> bool {
    let swift =
        |from: Option<Timestamp>, to: Timestamp| from.is_some_and(|from| to.since(from) <= SWIFT);
    let ended = [flow.fin_at, flow.reset_at].into_iter().flatten().min();
    match stage(flow) {
        None => refused_before_asked(flow),
        Some(Stage::Greeted) => flow.heard_bytes > 0 || was_left(flow),
        Some(Stage::Refused(_)) => !flow.asked,
        // Who answers a farewell bids one, at the end of any connection.
        Some(Stage::Sealed) if answers_sealed_alert(flow) => {
            !flow.asked
                && flow
                    .said_at
                    .is_some_and(|said| swift(flow.established_at, said))
        }
        Some(Stage::Sealed) => {
            !flow.asked
                && flow
                    .said_at
                    .is_some_and(|said| swift(flow.heard_before_at, said))
        }
        Some(Stage::Finished) if flow.asked => said_certificate(flow) && heard_sealed_alert(flow),
        Some(Stage::Finished) if heard_alert(flow).is_some() => true,
        Some(Stage::Finished) => swift(flow.said_at, ended.unwrap_or(at)),
    }
}
