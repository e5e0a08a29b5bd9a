//! The words of nginx, HAProxy, Envoy and Apache httpd.

use super::sight::Sight;

const NGINX_ALERT: &[&str] = &[
    "SSL_do_handshake() failed (SSL: …SSL alert number …) while SSL handshaking to upstream",
    "SSL_read() failed (SSL: …SSL alert number …) while reading response header from upstream",
];
const NGINX_RESET: &[&str] = &[
    "recv() failed (104: Connection reset by peer) while reading response header from upstream",
    "writev() failed (104: Connection reset by peer) while sending request to upstream",
    "writev() failed (32: Broken pipe) while sending request to upstream",
];
const NGINX_MID_HEADER: &[&str] = &[
    "upstream prematurely closed connection while reading response header from upstream",
    "recv() failed (104: Connection reset by peer) while reading response header from upstream",
];
const NGINX_NO_ANSWER: &[&str] = &[
    "upstream timed out (110: Connection timed out) while reading response header from upstream",
    "upstream timed out (110: Connection timed out) while sending request to upstream",
];
const NGINX_MALFORMED: &[&str] = &[
    "upstream sent invalid header: … while reading response header from upstream",
    "upstream sent invalid header while reading response header from upstream",
    "upstream sent no valid HTTP/1.0 header while reading response header from upstream",
];

/// nginx's error log. Source: `src/http/ngx_http_upstream.c`, `src/event/ngx_event_connect.c`,
/// `src/event/ngx_event_openssl.c` and `src/core/ngx_resolver.c` (`ngx_resolver_strerror`).
pub const fn nginx(sight: Sight) -> &'static [&'static str] {
    match sight {
        Sight::NameAbsent => &["… could not be resolved (3: Host not found)"],
        Sight::NameFailed => &["… could not be resolved (2: Server failure)"],
        Sight::NameTimeout => &["… could not be resolved (110: Operation timed out)"],
        Sight::OwnRule | Sight::Relayed => &[],
        Sight::NoLive => &["no live upstreams while connecting to upstream"],
        Sight::NoDescriptors | Sight::NoMemory => {
            &["socket() failed ({errno}: {error}) while connecting to upstream"]
        }
        Sight::Refused => &["connect() failed ({errno}: {error}) while connecting to upstream"],
        Sight::Unreachable | Sight::Denied => &[
            "connect() to {address} failed ({errno}: {error}) while connecting to upstream",
            "connect() failed ({errno}: {error}) while connecting to upstream",
        ],
        Sight::NoPorts
        | Sight::UnixMissing
        | Sight::UnixRefused
        | Sight::UnixFull
        | Sight::UnixDenied => {
            &["connect() to {address} failed ({errno}: {error}) while connecting to upstream"]
        }
        Sight::ConnectTimeout => {
            &["upstream timed out (110: Connection timed out) while connecting to upstream"]
        }
        Sight::TlsAlert => NGINX_ALERT,
        Sight::TlsDistrust => &[
            "upstream SSL certificate verify error: (…) while SSL handshaking to upstream",
            "upstream SSL certificate does not match … while SSL handshaking to upstream",
        ],
        Sight::TlsClosed => {
            &["peer closed connection in SSL handshake … while SSL handshaking to upstream"]
        }
        Sight::TlsToPlain => &[
            "SSL_do_handshake() failed (SSL: …wrong version number…) while SSL handshaking to upstream",
        ],
        Sight::Eof => {
            &["upstream prematurely closed connection while reading response header from upstream"]
        }
        Sight::Reset => NGINX_RESET,
        Sight::MidHeader => NGINX_MID_HEADER,
        Sight::NoAnswer => NGINX_NO_ANSWER,
        Sight::TooBig => {
            &["upstream sent too big header while reading response header from upstream"]
        }
        Sight::Malformed => NGINX_MALFORMED,
        Sight::BodyCut => &[
            "upstream prematurely closed connection while reading upstream",
            "recv() failed (104: Connection reset by peer) while reading upstream",
            "readv() failed (104: Connection reset by peer) while reading upstream",
        ],
        Sight::BodyStalled => {
            &["upstream timed out (110: Connection timed out) while reading upstream"]
        }
    }
}

/// HAProxy's termination state. Source: its configuration manual, "Session state at disconnection":
/// who ended it (S server, s its timeout, P proxy, L itself), and in which phase (C connecting,
/// H the answer's header, D its body, R the request).
pub const fn haproxy(sight: Sight) -> &'static [&'static str] {
    match sight {
        Sight::NameAbsent | Sight::NameFailed | Sight::NameTimeout | Sight::NoLive => {
            &["/<NOSRV> … SC--"]
        }
        Sight::OwnRule => &["LR--", "PR--"],
        Sight::Refused
        | Sight::Unreachable
        | Sight::Denied
        | Sight::UnixMissing
        | Sight::UnixRefused
        | Sight::UnixFull
        | Sight::UnixDenied
        | Sight::TlsAlert
        | Sight::TlsDistrust
        | Sight::TlsClosed
        | Sight::TlsToPlain => &["SC--"],
        Sight::NoDescriptors | Sight::NoMemory | Sight::NoPorts => &["RC--", "SC--"],
        Sight::ConnectTimeout => &["sC--"],
        Sight::Eof | Sight::Reset => &["SH--"],
        // By whether the part had been looked at when the end came.
        Sight::MidHeader => &["SH--", "PH--"],
        Sight::NoAnswer => &["sH--"],
        Sight::TooBig | Sight::Malformed => &["PH--"],
        Sight::Relayed => &["----"],
        Sight::BodyCut => &["SD--"],
        // 3.0 has been seen to write the second.
        Sight::BodyStalled => &["sD--", "CD--"],
    }
}

/// Envoy's response flags and response code details. Source: its documentation, "Access logging"
/// (`%RESPONSE_FLAGS%`) and "Response Code Details".
pub const fn envoy(sight: Sight) -> &'static [&'static str] {
    match sight {
        Sight::NameAbsent | Sight::NameFailed | Sight::NameTimeout | Sight::NoLive => {
            &["UH no_healthy_upstream"]
        }
        Sight::OwnRule => &[
            "- direct_response",
            "NR route_not_found",
            "NC cluster_not_found",
        ],
        Sight::NoDescriptors | Sight::NoMemory | Sight::NoPorts | Sight::Denied => {
            &["UF upstream_reset_before_response_started{…}"]
        }
        Sight::Refused => {
            &["UF upstream_reset_before_response_started{…delayed_connect_error:_{error_}…}"]
        }
        Sight::Unreachable
        | Sight::UnixMissing
        | Sight::UnixRefused
        | Sight::UnixFull
        | Sight::UnixDenied => {
            &["UF upstream_reset_before_response_started{…connect_error:_{error_}…}"]
        }
        Sight::ConnectTimeout => {
            &["UF upstream_reset_before_response_started{connection_timeout…}"]
        }
        Sight::TlsAlert => &["UF upstream_reset_before_response_started{…TLS_error:…ALERT…}"],
        Sight::TlsDistrust => {
            &["UF upstream_reset_before_response_started{…TLS_error:…CERTIFICATE_VERIFY_FAILED…}"]
        }
        Sight::TlsToPlain => {
            &["UF upstream_reset_before_response_started{…TLS_error:…WRONG_VERSION_NUMBER…}"]
        }
        Sight::TlsClosed => {
            &["UF upstream_reset_before_response_started{remote_connection_failure…}"]
        }
        Sight::Eof | Sight::Reset => {
            &["UC upstream_reset_before_response_started{connection_termination…}"]
        }
        Sight::MidHeader | Sight::TooBig | Sight::Malformed => {
            &["UPE upstream_reset_before_response_started{protocol_error…}"]
        }
        Sight::NoAnswer => &["UT response_timeout", "UT upstream_per_try_timeout"],
        Sight::Relayed => &["- via_upstream"],
        Sight::BodyCut => &["upstream_reset_after_response_started{…}"],
        Sight::BodyStalled => &["UT response_timeout", "SI stream_idle_timeout"],
    }
}

/// Apache httpd's error log. Source: `modules/proxy/proxy_util.c`, `mod_proxy_http.c` and
/// `mod_proxy_balancer.c`; each message has its AH number.
pub const fn apache(sight: Sight) -> &'static [&'static str] {
    match sight {
        Sight::NameAbsent | Sight::NameFailed | Sight::NameTimeout => {
            &["AH00898: DNS lookup failure for: …"]
        }
        Sight::OwnRule | Sight::Relayed => &[],
        Sight::NoLive => &[
            "AH01114: HTTP: failed to make connection to backend: …",
            "AH01167: balancer://…: All workers are in error state for route…",
        ],
        Sight::NoDescriptors | Sight::NoMemory => &["AH00952: …: error creating … socket to …"],
        Sight::Refused | Sight::Unreachable | Sight::Denied | Sight::NoPorts => {
            &["({errno}){error}: AH00957: …: attempt to connect to {address} (…) failed"]
        }
        Sight::UnixMissing | Sight::UnixRefused | Sight::UnixFull | Sight::UnixDenied => {
            &["({errno}){error}: AH02454: …: attempt to connect to Unix domain socket … failed"]
        }
        Sight::ConnectTimeout => &[
            "(70007)The timeout specified has expired: AH00957: …: attempt to connect to {address} (…) failed",
            "(110)Connection timed out: AH00957: …: attempt to connect to {address} (…) failed",
        ],
        Sight::TlsAlert | Sight::TlsDistrust | Sight::TlsClosed | Sight::TlsToPlain => {
            &["AH00898: Error during SSL Handshake with remote server"]
        }
        Sight::Eof => &["AH01102: error reading status line from remote server {address}"],
        Sight::Reset => &[
            "(104)Connection reset by peer: …AH01102: error reading status line from remote server {address}",
            "(32)Broken pipe: …AH01084: pass request body failed to {address}",
            "(104)Connection reset by peer: …AH01084: pass request body failed to {address}",
        ],
        Sight::MidHeader => &[
            "AH01106: bad HTTP/… header returned by …",
            "AH01102: error reading status line from remote server {address}",
        ],
        Sight::NoAnswer => &[
            "(70007)The timeout specified has expired: …AH01102: error reading status line from remote server {address}",
        ],
        Sight::TooBig | Sight::Malformed => &["AH01106: bad HTTP/… header returned by …"],
        Sight::BodyCut => &["AH01110: error reading response"],
        Sight::BodyStalled => {
            &["(70007)The timeout specified has expired: …AH01110: error reading response"]
        }
    }
}
