//! One run of one load, and what it cost the gateway.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::cpu;
use super::nginx::Servers;
use crate::process;

/// What every request of a run is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Answered by the upstream over pooled connections.
    Good,
    /// Refused by a port where nothing listens.
    Refused,
}

impl std::fmt::Display for Load {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Good => "all 200",
            Self::Refused => "all 502",
        })
    }
}

/// What one run measured.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Requests that the gateway served.
    pub requests: u64,
    /// Of all the gateway's processes, user and system.
    pub cpu: Duration,
    /// The run's length.
    pub took: Duration,
}

impl Sample {
    /// Nanoseconds of processor time for each request.
    pub fn nanos_each(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.requests.max(1) as f64
    }

    /// Requests each second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

impl Load {
    /// Sixteen connections that ask as fast as they are answered.
    pub fn run(self, servers: &Servers, duration: Duration) -> Result<Sample> {
        let path = match self {
            Self::Good => "/",
            Self::Refused => "/refused",
        };
        let mut wrk = Command::new("taskset");
        wrk.args([
            "-c",
            "0",
            "wrk",
            "-c16",
            "-t1",
            &format!("-d{}s", duration.as_secs()),
        ]);
        wrk.arg(format!("http://{}{path}", servers.gateway))
            .stdin(Stdio::null());
        let before = (
            requests(servers.gateway)?,
            cpu::of_family(servers.gateway_pid())?,
        );
        let began = Instant::now();
        let said = process::read(&mut wrk)?;
        let took = began.elapsed();
        let after = (
            requests(servers.gateway)?,
            cpu::of_family(servers.gateway_pid())?,
        );
        let failed = said.contains("Non-2xx or 3xx responses");
        ensure!(
            failed == (self == Self::Refused),
            "the answers are not {self}: {said}"
        );
        Ok(Sample {
            requests: after.0.saturating_sub(before.0 + 1),
            cpu: after.1.saturating_sub(before.1),
            took,
        })
    }
}

/// What nginx itself counts (`stub_status`); the asking is counted too.
fn requests(gateway: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(gateway)?;
    stream.write_all(b"GET /requests HTTP/1.0\r\n\r\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    served(&said).with_context(|| format!("no stub_status: {said}"))
}

/// The third number under `server accepts handled requests`.
fn served(status: &str) -> Option<u64> {
    let mut lines = status
        .lines()
        .skip_while(|line| !line.contains("accepts handled requests"));
    lines.nth(1)?.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_says_how_many_requests_it_served() {
        let said = "HTTP/1.1 200 OK\r\n\r\nActive connections: 1 \nserver accepts handled requests\n 3 3 502 \nReading: 0\n";
        assert_eq!(served(said), Some(502));
    }
}
