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
    /// Reset by an upstream that has read it.
    Reset,
    /// Closed by an upstream that has read it.
    Closed,
    /// One in ten is refused, nine are answered.
    Mixed,
}

impl Load {
    pub const ALL: [Self; 5] = [
        Self::Good,
        Self::Refused,
        Self::Reset,
        Self::Closed,
        Self::Mixed,
    ];

    fn path(self) -> &'static str {
        match self {
            Self::Good => "/",
            Self::Refused => "/refused",
            Self::Reset => "/reset",
            Self::Closed => "/closed",
            Self::Mixed => "/mixed",
        }
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Good => "all 200",
            Self::Refused => "all 502, refused",
            Self::Reset => "all 502, reset",
            Self::Closed => "all 502, closed",
            Self::Mixed => "one 502 in ten",
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
    /// Answers that were no `2xx`.
    pub failed: u64,
    /// Within which half of the answers came, milliseconds.
    pub half: f64,
    /// Within which 99 of a hundred came, milliseconds.
    pub most: f64,
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
        let mut wrk = Command::new("taskset");
        wrk.args([
            "-c",
            "0",
            "wrk",
            "-c16",
            "-t1",
            "--latency",
            &format!("-d{}s", duration.as_secs()),
        ]);
        wrk.arg(format!("http://{}{}", servers.gateway, self.path()))
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
        let failed = failures(&said);
        ensure!(
            (failed > 0) == (self != Self::Good),
            "the answers are not {self}: {said}"
        );
        Ok(Sample {
            requests: after.0.saturating_sub(before.0 + 1),
            cpu: after.1.saturating_sub(before.1),
            took,
            failed,
            half: within(&said, "50%").with_context(|| said.clone())?,
            most: within(&said, "99%").with_context(|| said.clone())?,
        })
    }
}

/// How many answers wrk says were no `2xx`.
fn failures(said: &str) -> u64 {
    let count = said.split("Non-2xx or 3xx responses:").nth(1);
    let number = count.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// A line of wrk's table of latencies, in milliseconds.
fn within(said: &str, share: &str) -> Option<f64> {
    let mut lines = said.lines().map(str::trim);
    let value = lines.find_map(|line| line.strip_prefix(share))?.trim();
    let unit = value.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let number: f64 = value.strip_suffix(unit)?.parse().ok()?;
    match unit {
        "us" => Some(number / 1e3),
        "ms" => Some(number),
        "s" => Some(number * 1e3),
        _ => None,
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

    #[test]
    fn wrk_says_how_long_answers_took_and_how_many_failed() {
        let said = "  Latency Distribution\n     50%  502.00us\n     99%    1.50ms\n  Non-2xx or 3xx responses: 7\n";
        assert_eq!(
            (within(said, "50%"), within(said, "99%"), failures(said)),
            (Some(0.502), Some(1.5), 7)
        );
    }
}
