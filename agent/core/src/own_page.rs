//! What an answer's head says of who wrote it: gateways have a page of their own for want of a server.

use crate::http::field;
use crate::units::{Errno, Head};

/// Whether a gateway's page is for a request that it had no server for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// It is not.
    No,
    /// Or for one that a rule of its refuses: `HAProxy` has one page for both (`deny_status 503`).
    Maybe,
    /// It is for nothing else.
    Yes,
}

/// What the head of its page says of it.
#[must_use]
pub fn want(head: &Head) -> Want {
    let text = head.text();
    let first = text.split("\r\n").next().unwrap_or_default();
    let Some((_, status)) = first.split_once(' ') else {
        return Want::No;
    };
    let has = |name: &str| field(&text, name).is_some();
    let length = |bytes: &str| field(&text, "content-length") == Some(bytes);
    match status.to_ascii_lowercase().as_str() {
        // Varnish, whatever its backend's fault: a rule's `synth(503)` has the usual words.
        "503 backend fetch failed" => Want::Yes,
        _ if has("x-squid-error") => Want::Yes,
        // HAProxy's pages have no date; what a rule returns says nothing of caches.
        "503 service unavailable" if has("cache-control") && !has("date") => Want::Maybe,
        // Envoy says `no healthy upstream`, Traefik `no available server`.
        "503 service unavailable" if has("content-type") && (length("19") || length("20")) => {
            Want::Yes
        }
        _ => Want::No,
    }
}

/// How a gateway's own page words a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It failed, with this errno.
    Dial(Errno),
    /// None decided: the failure was another.
    Other,
    /// Nobody was asked, where nobody was: all of its peers are dead.
    Nobody,
}

/// What Squid's page says of a dial (squid-cache.org, `ErrorState`): the error's name and an errno.
/// Squid 5.7 says `ERR_READ_ERROR 0` where all its peers are dead.
#[must_use]
pub fn word(head: &Head) -> Option<Word> {
    let text = head.text();
    let (name, errno) = field(&text, "x-squid-error")?.split_once(' ')?;
    let errno = errno.trim_end().parse().ok()?;
    Some(match (name, errno) {
        ("ERR_CONNECT_FAIL", errno) => Word::Dial(Errno(errno)),
        ("ERR_READ_ERROR", 0) | ("ERR_CANNOT_FORWARD", _) => Word::Nobody,
        _ => Word::Other,
    })
}

impl Word {
    /// Whether a dial that failed so, or a connection that was used, may have made its gateway say it.
    #[must_use]
    pub fn allows(self, is_dial: bool, errno: Errno) -> bool {
        match self {
            Self::Dial(said) => is_dial && (said == errno || said.0 == 0 || errno.0 == 0),
            Self::Other | Self::Nobody => !is_dial,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_their_own_are_told_from_what_a_rule_says() {
        for (head, expected) in [
            (
                "HTTP/1.1 503 Backend fetch failed\r\nDate: x\r\n",
                Want::Yes,
            ),
            (
                "HTTP/1.1 503 Service Unavailable\r\nDate: x\r\n\r\n",
                Want::No,
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\nServer: x\r\nX-Squid-Error: x x\r\n",
                Want::Yes,
            ),
            (
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 107\r\ncache-control: x\r\n",
                Want::Maybe,
            ),
            (
                "HTTP/1.1 503 Service Unavailable\r\ndate: x\r\ncache-control: x\r\n",
                Want::No,
            ),
            (
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n",
                Want::No,
            ),
            (
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 19\r\ncontent-type: x\r\n",
                Want::Yes,
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 19\r\n",
                Want::No,
            ),
            ("", Want::No),
        ] {
            let head = Head(head.as_bytes().to_vec());
            assert_eq!(want(&head), expected, "{head:?}");
        }
    }

    #[test]
    fn squid_says_whether_a_dial_failed() {
        let said = |error: &str| {
            let head = format!("HTTP/1.1 503 x\r\nServer: x\r\nX-Squid-Error: {error}\r\n");
            word(&Head(head.into_bytes()))
        };
        assert_eq!(said("ERR_CONNECT_FAIL 111"), Some(Word::Dial(Errno(111))));
        assert_eq!(said("ERR_READ_ERROR 0"), Some(Word::Nobody));
        assert_eq!(said("ERR_READ_ERROR 104"), Some(Word::Other));
        assert_eq!(said("xxxxxxxxxxxxxxxx xxx"), None);
        assert!(Word::Dial(Errno(111)).allows(true, Errno(111)));
        assert!(!Word::Dial(Errno(113)).allows(true, Errno(111)));
        assert!(!Word::Other.allows(true, Errno(111)));
    }
}
