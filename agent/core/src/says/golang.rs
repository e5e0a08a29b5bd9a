//! The words of Caddy and Traefik: both pass on the errors of Go's standard library.

use super::sight::Sight;

/// Source: Go's `net/net.go` (`OpError`), `net/http/transport.go`, `net/http/response.go`,
/// `crypto/tls/conn.go`; Caddy's `modules/caddyhttp/reverseproxy/selectionpolicies.go` and
/// `reverseproxy.go`; Traefik's `pkg/proxy/httputil/proxy.go` and `pkg/middlewares/recovery/recovery.go`.
pub const fn words(sight: Sight) -> &'static [&'static str] {
    match sight {
        Sight::NameAbsent => &["dial tcp: lookup …: no such host"],
        Sight::NameFailed => &[
            "dial tcp: lookup …: server misbehaving",
            "dial tcp: lookup …: no such host",
        ],
        Sight::NameTimeout => &["dial tcp: lookup …: i/o timeout"],
        Sight::OwnRule | Sight::Relayed => &[],
        Sight::NoLive => &["no upstreams available", "no available server"],
        Sight::NoDescriptors | Sight::NoMemory => &["dial tcp {address}: socket: {lower}"],
        Sight::Refused | Sight::Unreachable | Sight::NoPorts | Sight::Denied => {
            &["dial tcp {address}: connect: {lower}"]
        }
        Sight::UnixMissing | Sight::UnixRefused | Sight::UnixFull | Sight::UnixDenied => {
            &["dial unix …: connect: {lower}"]
        }
        Sight::ConnectTimeout => &["dial tcp {address}: i/o timeout"],
        Sight::TlsAlert => &["remote error: tls: …"],
        Sight::TlsDistrust => &["tls: failed to verify certificate: …"],
        Sight::TlsToPlain => &[
            "tls: first record does not look like a TLS handshake",
            "http: server gave HTTP response to HTTPS client",
        ],
        Sight::TlsClosed | Sight::Eof => &["EOF", "http: server closed idle connection"],
        Sight::Reset => &[
            "read: connection reset by peer",
            "write: connection reset by peer",
            "write: broken pipe",
            "EOF",
            "http: server closed idle connection",
        ],
        Sight::MidHeader => &[
            "net/http: HTTP/1.x transport connection broken: unexpected EOF",
            "net/http: HTTP/1.x transport connection broken: malformed HTTP …",
        ],
        Sight::NoAnswer => &["net/http: timeout awaiting response headers"],
        Sight::TooBig => &["net/http: server response headers exceeded … bytes; aborted"],
        Sight::Malformed => &["net/http: HTTP/1.x transport connection broken: malformed …"],
        Sight::BodyCut => &[
            "aborting with incomplete response",
            "httputil: ReverseProxy read error during body copy: …",
            // Traefik's, at its level DEBUG.
            "Request has been aborted […]: net/http: abort Handler",
        ],
        // They have no timer for it.
        Sight::BodyStalled => &[],
    }
}
