//! An HTTP/1.1 client over a plain socket, that knows to the microsecond when its answer came.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Longer than any gateway's timeout in these tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// What no verdict may ever show: it goes out in a header and in the body of every request.
pub const SECRET: &str = "sesame";

/// Gives each request of this process a path of its own.
#[must_use]
pub fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A body of this size, of nothing but the secret.
#[must_use]
pub fn body(size: usize) -> Vec<u8> {
    SECRET.bytes().cycle().take(size).collect()
}

/// What the client got.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The path asked for.
    pub path: String,
    /// The status code.
    pub status: u16,
    /// When the status line had arrived.
    pub at: Instant,
    /// The client's own address.
    pub client: SocketAddr,
}

/// One kept-alive connection.
pub struct Client {
    stream: TcpStream,
    buffered: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When the gateway does not accept.
    pub fn connect(gateway: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&gateway, Duration::from_secs(5))
            .with_context(|| format!("connecting to the gateway at {gateway}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffered: Vec::new(),
        })
    }

    /// Its own address.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }

    /// Asks by GET.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub fn get(&mut self, path: &str) -> Result<Answer> {
        self.ask("GET", path, b"")
    }

    /// Asks by POST, with a body of about 2 kB.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub fn post(&mut self, path: &str) -> Result<Answer> {
        self.ask("POST", path, SECRET.repeat(350).as_bytes())
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
        let client = self.stream.local_addr()?;
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let asks = format!(
            "{method} {path} HTTP/1.1\r\nHost: shop.test\r\nCookie: id={SECRET}\r\n{length}\r\n"
        );
        let mut request = asks.into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request)?;
        let (head, at) = self
            .head()
            .with_context(|| format!("waiting for the answer to {method} {path}"))?;
        let status = head
            .get(9..12)
            .context("a status line")?
            .parse()
            .context("a status code")?;
        let length = header(&head, "content-length").and_then(|text| text.parse::<usize>().ok());
        self.take(length.unwrap_or(0))?;
        Ok(Answer {
            path: path.to_owned(),
            status,
            at,
            client,
        })
    }

    /// Waits until the other end closes.
    ///
    /// # Errors
    /// When it says something, or nothing within the patience.
    pub fn closes(&mut self) -> Result<()> {
        let mut part = [0; 64];
        let count = self.stream.read(&mut part)?;
        anyhow::ensure!(count == 0, "{count} bytes more");
        Ok(())
    }

    fn head(&mut self) -> Result<(String, Instant)> {
        loop {
            let at = Instant::now();
            if let Some(end) = self
                .buffered
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
            {
                let head = self.take(end + 4)?;
                // Interim answers (RFC 9110, 15.2).
                if head.get(9) == Some(&b'1') {
                    continue;
                }
                return Ok((String::from_utf8_lossy(&head).into_owned(), at));
            }
            self.fill()?;
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.buffered.len() < count {
            self.fill()?;
        }
        let rest = self.buffered.split_off(count);
        Ok(std::mem::replace(&mut self.buffered, rest))
    }

    fn fill(&mut self) -> Result<()> {
        let mut part = [0; 16384];
        let count = loop {
            match self.stream.read(&mut part) {
                // A process that was stopped and goes on has its waiting calls interrupted.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if count == 0 {
            bail!("the gateway closed after {} bytes", self.buffered.len());
        }
        self.buffered.extend_from_slice(&part[..count]);
        Ok(())
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let named = head.lines().filter_map(|line| line.split_once(':'));
    named
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .next()
}

/// A GET on a connection of its own, while the test does something else.
#[must_use]
pub fn in_background(gateway: SocketAddr, path: String) -> JoinHandle<Result<Answer>> {
    std::thread::spawn(move || Client::connect(gateway)?.get(&path))
}

/// The answer of a request in the background.
///
/// # Errors
/// When none came.
pub fn joined(asked: JoinHandle<Result<Answer>>) -> Result<Answer> {
    asked
        .join()
        .map_err(|_| anyhow::anyhow!("the client panicked"))?
}
