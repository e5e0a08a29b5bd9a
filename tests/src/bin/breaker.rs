//! An upstream fast enough for a storm: breaks as the header `X-Fault` says, all else is a good 200.
//!
//! `breaker PORT` serves until its input ends; `breaker worker FAULT` holds one connection as its
//! input and ends as the fault says.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use probe502_tests::storm::wire::{self, Head};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // The kernel writes no core file of a worker.
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(rustix::process::Resource::Core, none)?;
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["worker", fault] => worker(fault),
        [port] => {
            let port = port.parse()?;
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(serve(port))?;
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("breaker PORT"),
    }
}

async fn serve(port: u16) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    let listener = socket.listen(4096)?;
    println!("listening");
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // The gateway may leave at any time.
            let _ = answer(stream).await;
        });
    }
}

/// Answers until the gateway leaves or a fault ends the connection.
async fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    while let Some(head) = peek(&stream).await? {
        if head.fault == "reset-unseen" {
            return Ok(());
        }
        if ["abort", "exit", "killed-by-parent", "killed-by-user"].contains(&head.fault.as_str()) {
            return hand_over(stream, &head).await;
        }
        stream.read_exact(&mut vec![0; head.length]).await?;
        if head.fault == "reset-unread" {
            // Its body is there, or comes in a moment, and nobody reads it.
            stream.peek(&mut [0; 1]).await?;
            return Ok(());
        }
        stream.read_exact(&mut vec![0; head.body]).await?;
        if !break_or_answer(&mut stream, &head.fault).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the connection lives on.
async fn break_or_answer(stream: &mut TcpStream, fault: &str) -> Result<bool> {
    let half = b"HTTP/1.1 200 OK\r\nContent-Type: text/pl";
    match fault {
        "close-without-answer" => Ok(false),
        "partial-status" => {
            stream.write_all(b"HTTP/1.1 20").await?;
            Ok(false)
        }
        "partial-header" => {
            stream.write_all(half).await?;
            Ok(false)
        }
        "partial-header-reset" => {
            stream.write_all(half).await?;
            stream.set_zero_linger()?;
            Ok(false)
        }
        "reset-linger" => {
            stream.set_zero_linger()?;
            Ok(false)
        }
        "malformed-header" => {
            let bad = b"HTTP/1.1 200 OK\r\nnot a header line\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(bad).await?;
            linger_on(stream).await
        }
        "header-too-big" => {
            let filler = "X-Filler: ffffffffffffffffffffffffffffffffffffffffffff\r\n".repeat(1200);
            let _ = stream
                .write_all(
                    format!("HTTP/1.1 200 OK\r\n{filler}Content-Length: 0\r\n\r\n").as_bytes(),
                )
                .await;
            linger_on(stream).await
        }
        "says-502" => {
            wire::say(stream, "502 Bad Gateway").await?;
            Ok(true)
        }
        "says-503" => {
            wire::say(stream, "503 Service Unavailable").await?;
            Ok(true)
        }
        _ => {
            wire::say(stream, "200 OK").await?;
            Ok(true)
        }
    }
}

/// The gateway hangs up first, if it dislikes what it got.
async fn linger_on(stream: &mut TcpStream) -> Result<bool> {
    let mut more = [0; 1];
    let _ = tokio::time::timeout(Duration::from_secs(2), stream.read(&mut more)).await;
    Ok(false)
}

/// One request's head, left unread; none when the gateway has left.
async fn peek(stream: &TcpStream) -> Result<Option<Head>> {
    let mut seen = vec![0; 8192];
    loop {
        let count = stream.peek(&mut seen).await?;
        if count == 0 {
            return Ok(None);
        }
        if let Some(head) = Head::of(&seen[..count]) {
            return Ok(Some(head));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A process of its own gets the connection and ends with it. Until that process runs its own program it
/// has a copy of every connection of ours: nothing else may happen before.
async fn hand_over(stream: TcpStream, head: &Head) -> Result<()> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["worker", &head.fault]);
    command
        .stdin(OwnedFd::from(stream))
        .stdout(OwnedFd::from(theirs));
    let mut child = command.spawn()?;
    ours.read_exact(&mut [0; 1])?;
    drop(command);
    // Only now is the connection the worker's alone.
    ours.write_all(b"!")?;
    let pid = child.id().context("a worker")?;
    if head.fault == "killed-by-user" {
        writeln!(std::io::stdout(), "victim {pid}")?;
    }
    if head.fault == "killed-by-parent" {
        tokio::time::sleep(Duration::from_millis(20)).await;
        child.start_kill()?;
    }
    child.wait().await?;
    Ok(())
}

fn worker(fault: &str) -> Result<ExitCode> {
    let mut parent = UnixStream::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    parent.write_all(b"!")?;
    parent.read_exact(&mut [0; 1])?;
    wire::skip_request(&mut std::io::stdin().lock())?;
    match fault {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        _ => std::thread::sleep(Duration::from_secs(20)),
    }
    Ok(ExitCode::SUCCESS)
}
