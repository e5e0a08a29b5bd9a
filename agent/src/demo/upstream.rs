//! The demo's upstream: it breaks in the way that it is told to.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::costume;
use super::message::Message;

/// The demo's upstream; it ends with its stdin
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How it breaks
    #[arg(value_enum)]
    pub way: Way,
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:0")]
    pub bind: SocketAddr,
}

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// Answers, and keeps the connection.
    Answer,
    /// Reads it and waits.
    Wait,
    /// Reads it and aborts.
    Abort,
    /// Reads it and exits with status 1.
    Exit,
    /// Reads it and allocates until it is killed.
    Allocate,
    /// Reads it and closes.
    Close,
    /// Answers with half a header and closes.
    HalfHeader,
    /// Closes with most of it unread.
    Unread,
    /// Reads it and resets the connection by `SO_LINGER` 0.
    Linger,
    /// Never accepts.
    Ignore,
    /// Answers once, then closes the idle connection.
    IdleClose,
    /// Answers with a line that is no header.
    Malformed,
    /// Answers with a header of 32 KiB.
    BigHeader,
    /// Answers 502 by itself.
    Say502,
}

/// How long an idle connection is kept by [`Way::IdleClose`]; the demo's gateway waits longer.
pub const IDLE: Duration = Duration::from_millis(200);

/// More than the demo's memory limit; an end to it where no limit holds.
const ALLOCATION: usize = 512 << 20;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

/// Serves until stdin ends or it breaks.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    costume(c"demo-upstream").context("cannot take the upstream's name")?;
    let listener = TcpListener::bind(arguments.bind)
        .await
        .context("cannot listen")?;
    println!("listening {}", listener.local_addr()?);
    let mut listener = Some(listener);
    let mut orders = super::orders()?;
    loop {
        tokio::select! {
            order = orders.next_line() => match order?.as_deref() {
                Some("close") => { listener = None; println!("closed"); }
                Some("abort") => std::process::abort(),
                Some(order) => anyhow::bail!("'{order}' is no order"),
                None => return Ok(()),
            },
            client = accept(listener.as_ref()), if arguments.way != Way::Ignore => {
                // How it ends is the demo's point, not this process's failure.
                drop(tokio::spawn(serve(client?, arguments.way)));
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(client, _)| client),
        None => std::future::pending().await,
    }
}

async fn serve(mut client: TcpStream, way: Way) -> io::Result<()> {
    if way == Way::Unread {
        let mut start = [0; 16];
        client.read_exact(&mut start).await?;
        return Ok(());
    }
    loop {
        Message::read(&mut client).await?;
        match way {
            Way::Answer => client.write_all(OK).await?,
            Way::Say502 => {
                let answer = b"HTTP/1.1 502 Bad Gateway\r\nServer: demo-upstream\r\nContent-Length: 0\r\n\r\n";
                client.write_all(answer).await?;
            }
            Way::Wait => {
                println!("read");
                return std::future::pending().await;
            }
            Way::Abort => std::process::abort(),
            Way::Exit => std::process::exit(1),
            Way::Allocate => allocate(),
            Way::Close | Way::Unread | Way::Ignore => return Ok(()),
            Way::HalfHeader => return client.write_all(b"HTTP/1.1 200 OK\r\nContent-Ty").await,
            Way::Linger => return socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)),
            Way::IdleClose => {
                client.write_all(OK).await?;
                tokio::time::sleep(IDLE).await;
                return Ok(());
            }
            Way::Malformed => {
                client
                    .write_all(b"HTTP/1.1 200 OK\r\nthis line is no header\r\n\r\n")
                    .await?;
            }
            Way::BigHeader => {
                client.write_all(b"HTTP/1.1 200 OK\r\n").await?;
                client
                    .write_all("X-Filler: 0123456789abcdef\r\n".repeat(1170).as_bytes())
                    .await?;
            }
        }
    }
}

fn allocate() {
    let mut held = Vec::new();
    while held.len() < ALLOCATION >> 20 {
        held.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
    std::process::exit(3);
}
