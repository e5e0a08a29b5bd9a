//! Protocols that are not HTTP/1, known by how their servers begin to speak.

/// A protocol's name, and the bytes that its server begins with.
const GREETINGS: &[(&str, &[&[u8]])] = &[
    // RFC 4253, 4.2.
    ("SSH", &[b"SSH-"]),
    // RFC 5321, 3.1 and 4.2, and RFC 959, 5.4: both greet so, or refuse to.
    ("SMTP or FTP", &[b"220 ", b"220-", b"421 ", b"554 "]),
    // RFC 1939, 3.
    ("POP3", &[b"+OK "]),
    // RFC 3501, 7.1.
    ("IMAP", &[b"* OK ", b"* BYE ", b"* PREAUTH "]),
    // The RESP protocol's errors.
    (
        "Redis",
        &[
            b"-ERR ",
            b"-NOAUTH ",
            b"-DENIED ",
            b"-LOADING ",
            b"-MISCONF ",
        ],
    ),
    (
        "memcached",
        &[b"ERROR\r\n", b"CLIENT_ERROR ", b"SERVER_ERROR "],
    ),
    ("NATS", &[b"INFO {"]),
    ("AMQP", &[b"AMQP"]),
    // RFC 6143, 7.1.1.
    ("VNC", &[b"RFB 0"]),
    // RFC 7826, 20.
    ("RTSP", &[b"RTSP/"]),
    ("SIP", &[b"SIP/2.0"]),
    ("rsync", &[b"@RSYNCD:"]),
    // RFC 854: IAC DO, DONT, WILL, WONT.
    (
        "Telnet",
        &[b"\xff\xfb", b"\xff\xfc", b"\xff\xfd", b"\xff\xfe"],
    ),
    ("HTTP/2", &[b"PRI * HTTP/2"]),
];

/// The protocol that an answer's first bytes belong to, where they are none of HTTP/1's and known.
#[must_use]
pub fn protocol(bytes: &[u8]) -> Option<&'static str> {
    let greets =
        |(_, starts): &&(&str, &[&[u8]])| starts.iter().any(|start| bytes.starts_with(start));
    let named = GREETINGS.iter().find(greets).map(|(name, _)| *name);
    named.or_else(|| framed(bytes))
}

/// Protocols with binary frames.
fn framed(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        // A SETTINGS or GOAWAY frame on stream 0 (RFC 9113, 6.5 and 6.8).
        [0, 0, _, 4 | 7, 0, 0, 0, 0, 0, ..] => Some("HTTP/2"),
        // Version 1; STDOUT, STDERR or END_REQUEST of the first request (FastCGI 1.0, 3.3).
        [1, 3 | 6 | 7, 0, 0 | 1, _, _, _, 0, ..] => Some("FastCGI"),
        // The length, sequence number 0, then protocol version 10, or an error packet.
        [_, 0 | 1, 0, 0, 10, b'0'..=b'9', ..] | [_, 0 | 1, 0, 0, 0xff, _, 4, ..] => Some("MySQL"),
        // An ErrorResponse: its length, the severity's field.
        [b'E', 0, 0, _, _, b'S', ..] => Some("PostgreSQL"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_known_by_their_first_words() {
        for (bytes, name) in [
            (&b"SSH-2.0-OpenSSH_"[..], "SSH"),
            (b"220 mail ESMTP", "SMTP or FTP"),
            (b"-ERR wrong numbe", "Redis"),
            (b"ERROR\r\n", "memcached"),
            (b"\0\0\x12\x04\0\0\0\0\0\0\x03", "HTTP/2"),
            (b"J\0\0\0\x0a8.0.36\0", "MySQL"),
            (b"\x01\x03\0\x01\0\x08\0\0", "FastCGI"),
            (b"E\0\0\0\x8bSFATAL\0", "PostgreSQL"),
        ] {
            assert_eq!(protocol(bytes), Some(name), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_no_one_knows_has_no_name() {
        for bytes in [
            &b""[..],
            b"garbage",
            b"HTTP/1.1 200 OK",
            b"\0\0\0\0\0\0\0\0\0",
            b"220",
        ] {
            assert_eq!(protocol(bytes), None, "{}", bytes.escape_ascii());
        }
    }
}
