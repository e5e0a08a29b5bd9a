//! What is kept of a message's first bytes: what a verdict needs, and nobody's values.

use probe502_common::HEAD;

use crate::http;
use crate::tls;
use crate::units::Head;

/// Bytes kept of a message that is not HTTP/1: enough to name a protocol by its greeting.
const GREETING: usize = 16;

/// Keeps a request's line, its query as a mere fingerprint, and its `Host`; a status line and the
/// names of the fields behind it; the headers of TLS records; of anything else the first bytes.
#[must_use]
pub fn redact(bytes: &[u8]) -> Head {
    if let Some(line) = http::request(bytes) {
        return Head(request(&line));
    }
    // A target longer than the head is still the target's beginning.
    if bytes.len() == HEAD && !bytes.contains(&b'\n') {
        let completed = [bytes, b" HTTP/1".as_slice()].concat();
        if let Some(line) = http::request(&completed) {
            return Head(request(&line));
        }
    }
    if bytes.starts_with(b"HTTP/") {
        return Head(answer(bytes));
    }
    if tls::is_record(bytes) {
        return Head(tls::condense(bytes));
    }
    Head(bytes.iter().take(GREETING).copied().collect())
}

fn request(line: &http::RequestLine<'_>) -> Vec<u8> {
    let (path, host) = (line.path(), line.host());
    let query = &line.target[path.len()..];
    let mut kept = Vec::with_capacity(64 + path.len() + host.map_or(0, str::len));
    let mut keep = |words: &[&str]| words.iter().for_each(|word| kept.extend(word.as_bytes()));
    keep(&[line.method, " ", path]);
    if !query.is_empty() {
        keep(&[&format!("?{:016x}", fingerprint(query.as_bytes()))]);
    }
    keep(&[" HTTP/1\r\n"]);
    if let Some(host) = host {
        keep(&["Host: ", host, "\r\n"]);
    }
    kept
}

/// The status line and each field's name; values become `x`, except what framing rests on and Squid's
/// own word for an error. What makes a field invalid stays as it is. Nothing behind the header is kept.
fn answer(bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if number == 0 || is_plain(line) {
            kept.extend_from_slice(line);
            continue;
        }
        let value = line
            .iter()
            .position(|byte| *byte == b':')
            .map_or(0, |colon| colon + 1);
        kept.extend_from_slice(&line[..value]);
        kept.extend(line[value..].iter().map(|byte| masked(*byte)));
        if line == b"\r\n" || line == b"\n" {
            break;
        }
    }
    kept
}

/// Fields whose values are nobody's.
const PLAIN: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"x-squid-error"];

fn is_plain(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    PLAIN.iter().any(|plain| name.eq_ignore_ascii_case(plain))
}

const fn masked(byte: u8) -> u8 {
    if byte.is_ascii_graphic() || byte >= 0x80 {
        b'x'
    } else {
        byte
    }
}

/// FNV-1a, 64 bits: two tries of one request keep the same query, and nobody can read it.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(redact(bytes).0).unwrap()
    }

    #[test]
    fn a_request_keeps_its_line_and_host_and_no_secret() {
        let kept = text(b"GET /a?token=s3cret HTTP/1.1\r\nCookie: s3cret\r\nHost: shop\r\n\r\n");
        assert!(kept.starts_with("GET /a?") && kept.ends_with(" HTTP/1\r\nHost: shop\r\n"));
        assert!(!kept.contains("s3cret"));
        let again = text(b"GET /a?token=s3cret HTTP/1.0\r\n\r\n");
        assert_eq!(kept.split(' ').nth(1), again.split(' ').nth(1));
        let long = format!("GET /{}", "a".repeat(HEAD));
        let kept = text(&long.as_bytes()[..HEAD]);
        assert_eq!(kept.split(' ').nth(1).map(str::len), Some(HEAD - 4));
        assert_eq!(text(b"LOGIN hunter2 and more"), "LOGIN hunter2 an");
    }

    #[test]
    fn an_answer_keeps_its_shape_and_no_value() {
        let kept =
            text(b"HTTP/1.1 200 OK\r\nSet-Cookie: id=s3\r\nContent-Length: 9\r\n\r\nthe body");
        assert_eq!(
            kept,
            "HTTP/1.1 200 OK\r\nSet-Cookie: xxxxx\r\nContent-Length: 9\r\n\r\n"
        );
        assert_eq!(
            text(b"HTTP/1.1 200 OK\r\nX: a\0b"),
            "HTTP/1.1 200 OK\r\nX: x\0x"
        );
    }

    #[test]
    fn a_fault_is_a_fault_after_it() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\0bad header\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
        ] {
            let before = http::fault(&Head(bytes.to_vec()));
            assert!(before.is_some());
            assert_eq!(before, http::fault(&redact(bytes)));
        }
    }

    #[test]
    fn anything_else_keeps_its_greeting() {
        assert_eq!(redact(&[7; 200]).0.len(), GREETING);
    }
}
