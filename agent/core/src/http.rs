//! HTTP/1 as far as a verdict needs it: request lines, status lines, and what makes a header bad.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::units::Head;

#[cfg(test)]
thread_local! {
    /// Heads that were read: what the work for an answer is counted in.
    pub static READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A request's first line, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// `GET`.
    pub method: &'a str,
    /// With its query string.
    pub target: &'a str,
    head: &'a [u8],
}

impl<'a> RequestLine<'a> {
    /// The target without its query string.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }

    /// The `Host` header, where it was among the first bytes.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        field(valid_prefix(self.head), "host")
    }
}

/// The request that a message begins with, if it is one.
#[must_use]
pub fn request_line(head: &Head) -> Option<RequestLine<'_>> {
    request(&head.0)
}

/// The same of bytes. Most messages are read several times: only the line is looked at.
#[must_use]
pub fn request(head: &[u8]) -> Option<RequestLine<'_>> {
    #[cfg(test)]
    READ.set(READ.get() + 1);
    let mut words = valid_prefix(first_line(head)).split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let named = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let versioned = words
        .next()
        .is_some_and(|version| version.starts_with("HTTP/1"));
    let is_request = named && versioned && !target.is_empty() && method.len() <= 20;
    is_request.then_some(RequestLine {
        method,
        target,
        head,
    })
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|two| two == b"\r\n")
}

fn first_line(bytes: &[u8]) -> &[u8] {
    line_end(bytes).map_or(bytes, |end| &bytes[..end])
}

/// The value of a head's first field of that name.
#[must_use]
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = head;
    while let Some(end) = line_end(rest.as_bytes()) {
        rest = &rest[end + 2..];
        let line = first_line(rest.as_bytes());
        let (own, value) = line.split_at_checked(name.len()).unwrap_or_default();
        if value.first() == Some(&b':') && own.eq_ignore_ascii_case(name.as_bytes()) {
            return Some(rest[name.len() + 1..line.len()].trim());
        }
    }
    None
}

/// The status of an answer.
#[must_use]
pub fn status(head: &Head) -> Option<u16> {
    let line = head.0.strip_prefix(b"HTTP/1.")?;
    let code = line.get(2..5)?;
    str::from_utf8(code).ok()?.parse().ok()
}

/// A request's method and target as a number: many are compared for each answer.
#[must_use]
pub fn asked(head: &Head) -> Option<u64> {
    let line = request_line(head)?;
    let mut hasher = DefaultHasher::new();
    (line.method, line.target).hash(&mut hasher);
    Some(hasher.finish())
}

/// Whether the header's end is among these first bytes.
#[must_use]
pub fn ends_within(head: &Head) -> bool {
    head.0.windows(4).any(|four| four == b"\r\n\r\n") || head.0.windows(2).any(|two| two == b"\n\n")
}

/// What is wrong with an answer's first bytes; `None` where they are a good beginning.
#[must_use]
pub fn fault(head: &Head) -> Option<String> {
    if head.0.is_empty() {
        return None;
    }
    #[cfg(test)]
    READ.set(READ.get() + 1);
    if let Some(fault) = status_line_fault(&head.0) {
        return Some(fault);
    }
    let mut length = None;
    let lines = head.0.split_inclusive(|byte| *byte == b'\n');
    for (number, line) in (1..).zip(lines).skip(1) {
        let Some(line) = line.strip_suffix(b"\n") else {
            break;
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        if let Some(fault) = line_fault(line, &mut length) {
            return Some(format!("its line {number} {fault}"));
        }
    }
    None
}

/// Whether an answer's first bytes are none of HTTP/1's at all.
#[must_use]
pub fn is_foreign(head: &Head) -> bool {
    !head.0.is_empty() && status_line_fault(&head.0).is_some()
}

fn status_line_fault(bytes: &[u8]) -> Option<String> {
    let matches = |pattern: &[u8]| {
        bytes
            .iter()
            .zip(pattern)
            .all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                wanted => byte == wanted,
            })
    };
    if !matches(b"HTTP/0.0 000") {
        return Some(format!("it begins with {}", beginning(bytes)));
    }
    match bytes.get(b"HTTP/0.0 000".len()) {
        None | Some(b' ' | b'\r' | b'\n') => None,
        Some(_) => Some("the status code has more than three digits".to_owned()),
    }
}

fn line_fault(line: &[u8], length: &mut Option<Vec<u8>>) -> Option<&'static str> {
    // A gateway may answer 502 to it, and nginx does (RFC 9112, 5.2).
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Some("is a folded header");
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return Some("has no colon");
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() {
        return Some("has no name before its colon");
    }
    if !name.iter().all(|byte| token(*byte)) {
        return Some("has a name with a character that no name may have");
    }
    if value.iter().any(|byte| matches!(byte, 0 | b'\r')) {
        return Some("has a value with a NUL or a bare CR");
    }
    if name.eq_ignore_ascii_case(b"content-length") {
        let value = value.trim_ascii().to_vec();
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Some("says a Content-Length that is not a number");
        }
        if length
            .replace(value.clone())
            .is_some_and(|before| before != value)
        {
            return Some("says another Content-Length than the one before");
        }
    }
    None
}

/// What the first bytes look like, without showing them: they may be anyone's payload.
fn beginning(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x15, 3, ..] => "a TLS alert, not a status line",
        [0x16, 3, ..] => "a TLS handshake, not a status line",
        [b'S', b'S', b'H', b'-', ..] => "an SSH banner, not a status line",
        [b'2', b'2', b'0', b' ' | b'-', ..] => "an SMTP or FTP greeting, not a status line",
        [b'P', b'R', b'I', b' ', ..] | [0, 0, _, 4, ..] => "HTTP/2, not an HTTP/1 status line",
        _ => "bytes that are no HTTP status line",
    }
}

/// RFC 9110, 5.6.2.
fn token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The text that bytes begin with.
#[must_use]
pub fn valid_prefix(bytes: &[u8]) -> &str {
    match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head(text.as_bytes().to_vec())
    }

    #[test]
    fn a_request_line_is_read_with_its_host() {
        let head = head("POST /a?b=c HTTP/1.1\r\nAccept: */*\r\nhost:  x:80\r\n\r\n");
        let line = request_line(&head).unwrap();
        assert_eq!(
            (line.method, line.target, line.host()),
            ("POST", "/a?b=c", Some("x:80"))
        );
        assert_eq!(line.path(), "/a");
    }

    #[test]
    fn what_is_no_request_is_none() {
        for text in [
            "",
            "GET",
            "HTTP/1.1 200 OK\r\n",
            "\u{16}\u{3}\u{1}",
            "a b HTTP/1.1\r\n",
        ] {
            assert_eq!(request_line(&head(text)), None, "{text}");
        }
    }

    #[test]
    fn good_beginnings_have_no_fault() {
        for text in [
            "",
            "HT",
            "HTTP/1.1 20",
            "HTTP/1.0 200\r\n",
            "HTTP/1.1 200 OK\r\nX_a.b: c\r\nno end",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\nno: é",
        ] {
            assert_eq!(fault(&head(text)), None, "{text}");
        }
    }

    #[test]
    fn bad_beginnings_say_what_is_wrong() {
        for (text, words) in [
            ("garbage", "no HTTP status line"),
            ("SSH-2.0-x\r\n", "SSH"),
            ("HTTP/1.1 2000 OK\r\n", "three digits"),
            ("HTTP/1.1 OK\r\n", "no HTTP status line"),
            ("HTTP/1.1 200 OK\r\nno colon\r\n", "no colon"),
            ("HTTP/1.1 200 OK\r\nA: c\r\n folded\r\n", "folded"),
            ("HTTP/1.1 200 OK\r\n: x\r\n", "no name"),
            ("HTTP/1.1 200 OK\r\na b: x\r\n", "a name with a character"),
            ("HTTP/1.1 200 OK\r\na: \0\r\n", "NUL"),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n", "not a number"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
                "another Content-Length",
            ),
        ] {
            let fault = fault(&head(text)).unwrap();
            assert!(fault.contains(words), "{text}: {fault}");
        }
    }
}
