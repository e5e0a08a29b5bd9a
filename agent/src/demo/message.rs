//! Just enough of HTTP/1.1 (RFC 9112) for the demo's gateway and upstreams.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A header may be this long: nginx's `proxy_buffer_size` is 4 or 8 KiB.
const HEADER: usize = 8 * 1024;

/// A body may be this long; the demo's own are a few bytes.
const BODY: usize = 64 * 1024;

/// A request or an answer, header and body, as it came.
pub struct Message {
    pub bytes: Vec<u8>,
    header: usize,
}

impl Message {
    /// Reads one message; fails at its end, its reset, or what is no HTTP.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let header = loop {
            if let Some(end) = header_end(&bytes) {
                break end;
            }
            if bytes.len() >= HEADER {
                return Err(invalid("the header is too big"));
            }
            more(stream, &mut bytes).await?;
        };
        let length = content_length(&bytes[..header])?;
        while bytes.len() < header + length {
            more(stream, &mut bytes).await?;
        }
        Ok(Self { bytes, header })
    }

    /// The first line's words: method, target, version, or version, status, reason.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let header = str::from_utf8(&self.bytes[..self.header]).unwrap_or("");
        header.lines().next().unwrap_or("").split(' ')
    }
}

async fn more(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn header_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|start| start + 4)
}

/// The body's length; refuses a header line that is none, as every gateway does.
fn content_length(header: &[u8]) -> io::Result<usize> {
    let header = str::from_utf8(header).map_err(|_| invalid("the header is no text"))?;
    let mut length = 0;
    for line in header.trim_end().lines().skip(1) {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| invalid("a line is no header"))?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value
                .trim()
                .parse()
                .map_err(|_| invalid("the length is no number"))?;
        }
    }
    if length > BODY {
        Err(invalid("the body is too big"))
    } else {
        Ok(length)
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut text: &[u8]) -> io::Result<Vec<u8>> {
        Message::read(&mut text).await.map(|message| message.bytes)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_message_is_its_header_and_its_body() {
        let text = b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET";
        let message = Message::read(&mut &text[..]).await.expect("valid");
        assert!(message.bytes.ends_with(b"\r\n\r\nhiGET") || message.bytes.ends_with(b"hi"));
        assert_eq!(
            message.words().collect::<Vec<_>>(),
            ["POST", "/x", "HTTP/1.1"]
        );
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_a_gateway_refuses_is_refused() {
        let kind = |error: io::Error| error.kind();
        let cut = read(b"HTTP/1.1 200 OK\r\nConte").await.map_err(kind);
        assert_eq!(cut, Err(io::ErrorKind::UnexpectedEof));
        let malformed = read(b"HTTP/1.1 200 OK\r\nnothing\r\n\r\n")
            .await
            .map_err(kind);
        assert_eq!(malformed, Err(io::ErrorKind::InvalidData));
        let big = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(20_000));
        assert_eq!(
            read(big.as_bytes()).await.map_err(kind),
            Err(io::ErrorKind::InvalidData)
        );
    }
}
