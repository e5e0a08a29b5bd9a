//! What the storm's upstream hears and says: HTTP/1.1, no more than it needs.

use std::io::Read;

use anyhow::{Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// A request's head.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes up to the body.
    pub length: usize,
    /// Bytes of the body.
    pub body: usize,
    /// What `X-Fault` says.
    pub fault: String,
}

impl Head {
    /// The head that these bytes begin with, if it is whole.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let length = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&bytes[..length]);
        let body = header(&text, "content-length").and_then(|text| text.parse().ok());
        Some(Self {
            length,
            body: body.unwrap_or(0),
            fault: header(&text, "x-fault").unwrap_or_default().to_owned(),
        })
    }
}

/// The first header of this name.
#[must_use]
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let named = head.lines().filter_map(|line| line.split_once(':'));
    named
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .next()
}

/// A short answer on a connection that lives on.
///
/// # Errors
/// When the gateway has left.
pub async fn say(stream: &mut TcpStream, status: &str) -> Result<()> {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nok\n");
    Ok(stream.write_all(answer.as_bytes()).await?)
}

/// Reads one request, and its body.
///
/// # Errors
/// When the gateway has left.
pub fn skip_request(input: &mut impl Read) -> Result<()> {
    let mut seen = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some(head) = Head::of(&seen)
            && seen.len() >= head.length + head.body
        {
            return Ok(());
        }
        let count = input.read(&mut part)?;
        ensure!(count > 0, "the gateway left");
        seen.extend_from_slice(&part[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let request = b"POST /a HTTP/1.1\r\nx-fault: exit\r\nContent-Length: 4\r\n\r\nbody";
        assert_eq!(Head::of(&request[..40]), None);
        let head = Head::of(request).unwrap();
        assert_eq!(
            (head.length, head.body, &*head.fault),
            (request.len() - 4, 4, "exit")
        );
    }

    #[test]
    fn a_request_is_skipped_whole() {
        let mut input = &b"GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"[..];
        skip_request(&mut input).unwrap();
        assert!(input.is_empty());
    }
}
