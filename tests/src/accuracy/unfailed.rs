//! Behind which gateways no failed answer comes of a fault, as measured with three seeds: every other
//! good answer means that the fault was not made.

use super::judge::{Judged, Mark};
use crate::gateways::Kind;

/// They try again, or pass on what came.
const HIDDEN: &[(Kind, &[&str])] = &[
    (Kind::Nginx, &["get-meets-fin", "malformed-length"]),
    (Kind::NginxTrixie, &["get-meets-fin"]),
    (Kind::Haproxy, &["nul-in-header"]),
    (
        Kind::Apache,
        &[
            "malformed-status-line",
            "garbage",
            "header-too-big",
            "ssh",
            "mail",
            "redis",
            "memcached",
        ],
    ),
    (
        Kind::Caddy,
        &["get-meets-fin", "header-too-big", "blank-in-header-name"],
    ),
    (
        Kind::Traefik,
        &["get-meets-fin", "header-too-big", "blank-in-header-name"],
    ),
    (Kind::Varnish, &["get-meets-fin"]),
    (
        Kind::Squid,
        &[
            "garbage",
            "header-too-big",
            "partial-header",
            "post-meets-fin",
            "post-meets-fin-of-a-leaver",
            "ssh",
            "mail",
            "mysql",
            "redis",
            "memcached",
            "http2-only",
            "plain-to-tls-with-alert",
        ],
    ),
];

/// What a pooled connection loses its kept client, too.
const RACED: &[&str] = &[
    "get-meets-fin",
    "post-meets-fin",
    "post-meets-fin-of-a-leaver",
    "firewall-resets-in-use",
];

/// nginx takes it for HTTP/0.9, and passes on what it has by the end.
const FOREIGN: &[&str] = &[
    "malformed-status-line",
    "garbage",
    "ssh",
    "mail",
    "mysql",
    "redis",
    "memcached",
    "http2-only",
    "plain-to-tls-with-alert",
];

/// They close without an answer.
const SILENT: &[(Kind, &[&str])] = &[
    (Kind::Nginx, FOREIGN),
    (Kind::NginxTrixie, FOREIGN),
    (Kind::Haproxy, RACED),
    (Kind::HaproxyTrixie, RACED),
    (Kind::Apache, RACED),
    // Its client leaves first.
    (Kind::Apache, &["unix-queue-full"]),
];

/// Whether a cell without a failed answer is one of these; every other cell is.
#[must_use]
pub fn is_foreseen(cell: &Judged) -> bool {
    let known = match cell.mark {
        Mark::Hidden => HIDDEN,
        Mark::Silent => SILENT,
        Mark::Right
        | Mark::Unknown
        | Mark::Wrong
        | Mark::Missed
        | Mark::Spurious
        | Mark::Broken => return true,
    };
    let mut own = known.iter().filter(|(kind, _)| *kind == cell.kind);
    own.any(|(_, faults)| faults.contains(&cell.fault.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::faults;

    #[test]
    fn each_is_a_cell() {
        for (kind, names) in HIDDEN.iter().chain(SILENT) {
            for name in *names {
                let mut all = faults::all().filter(|fault| (fault.meets)(*kind));
                let found = all.any(|fault| fault.name == *name);
                assert!(found, "{}/{name}", kind.name());
            }
        }
    }
}
