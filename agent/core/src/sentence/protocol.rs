//! What did not fit, in words.

use crate::attempts::is_header_huge;
use crate::event::Flow;
use crate::foreign;
use crate::http;
use crate::tls::{self, Alert, Stage};

fn named(alert: Alert) -> String {
    format!("{} ({})", alert.name(), alert.0)
}

/// What the gateway's socket saw of a handshake that failed.
#[must_use]
pub fn fact(flow: &Flow) -> String {
    if let Some(alert) = tls::heard_alert(flow) {
        return format!("{} sent the TLS alert {}", flow.remote, named(alert));
    }
    match tls::stage(flow) {
        Some(Stage::Refused(alert)) => format!("the gateway sent the TLS alert {}", named(alert)),
        Some(Stage::Sealed) => "the gateway sent an encrypted alert and let go".to_owned(),
        Some(Stage::Finished) if !tls::heard_sealed_alert(flow) => {
            "the gateway let go after its part of the handshake".to_owned()
        }
        Some(Stage::Finished) | None if tls::heard_sealed_alert(flow) => {
            format!("{} sent an encrypted alert", flow.remote)
        }
        Some(Stage::Greeted | Stage::Finished) | None => {
            let heard = flow.heard_bytes;
            format!("the gateway let go in the TLS handshake, after {heard} bytes")
        }
    }
}

/// `protocol.header-too-big`
#[must_use]
pub fn header_too_big(flow: &Flow) -> String {
    if is_header_huge(flow) {
        let bytes = flow.scanned;
        return format!("the answer's header is about {bytes} bytes long, and the gateway hung up");
    }
    let bytes = match (flow.header_scanned, flow.header_end_heard) {
        (true, false) => u64::from(flow.scanned),
        // Its end lay in what the gateway left unread.
        (true, true) => flow.heard_bytes.saturating_sub(flow.unread.into()),
        (false, _) => flow.heard_bytes,
    };
    format!("the answer's header had not ended after {bytes} bytes, and the gateway hung up")
}

/// `protocol.malformed`
#[must_use]
pub fn malformed(flow: &Flow) -> String {
    let fault = http::fault(&flow.heard_head).unwrap_or_default();
    format!("the answer is not valid HTTP: {fault}")
}

/// `protocol.not-http`
#[must_use]
pub fn not_http(flow: &Flow) -> String {
    let protocol = foreign::protocol(&flow.heard_head.0).unwrap_or("another protocol");
    format!("{} speaks {protocol}, not HTTP", flow.remote)
}

/// `protocol.plain-to-tls`
#[must_use]
pub fn plain_to_tls(flow: &Flow, who: &str) -> String {
    let address = flow.remote;
    match tls::heard_alert(flow) {
        Some(alert) => format!(
            "{address} speaks TLS: it answered a request in clear with the alert {}",
            named(alert)
        ),
        None => format!("{address} speaks TLS to others, and {who} closed on a request in clear"),
    }
}

/// `protocol.tls-to-plain`
#[must_use]
pub fn tls_to_plain(flow: &Flow, who: &str) -> String {
    let address = flow.remote;
    if !flow.heard_head.0.is_empty() {
        format!("{address} answered the gateway's ClientHello with bytes that are not TLS")
    } else {
        format!("{address} speaks HTTP in clear to others, and {who} closed on a ClientHello")
    }
}

/// `protocol.tls-alert`
#[must_use]
pub fn tls_alert(flow: &Flow) -> String {
    let address = flow.remote;
    match (tls::heard_alert(flow), tls::stage(flow)) {
        (Some(alert), _) => format!(
            "{address} ended the TLS handshake with the alert {}",
            named(alert)
        ),
        (None, Some(Stage::Refused(alert))) => format!(
            "the gateway ended the TLS handshake with {address} by the alert {}",
            named(alert)
        ),
        (None, _) if tls::said_no_certificate(flow) => format!(
            "{address} asked for a client certificate, the gateway showed none, and an encrypted \
             alert came back"
        ),
        (None, None) => {
            format!(
                "{address} sent an encrypted alert after the handshake, before the request left"
            )
        }
        (None, Some(Stage::Sealed | Stage::Greeted | Stage::Finished)) => {
            format!(
                "{address} answered the gateway's part of the handshake with an encrypted alert"
            )
        }
    }
}

/// `protocol.tls-distrust`
#[must_use]
pub fn tls_distrust(flow: &Flow) -> String {
    let address = flow.remote;
    match tls::stage(flow) {
        Some(Stage::Refused(alert)) => format!(
            "the gateway refused the certificate of {address} with the alert {}",
            named(alert)
        ),
        Some(Stage::Sealed) => format!(
            "the gateway got the certificate of {address}, sent an encrypted alert and hung up"
        ),
        Some(Stage::Greeted | Stage::Finished) | None => format!(
            "the gateway got the certificate of {address}, and hung up before it asked anything"
        ),
    }
}
