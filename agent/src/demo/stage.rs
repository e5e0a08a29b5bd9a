//! Where the scenes play: the gateway, one upstream that always works, and a client.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;
use probe502_core::units::Pid;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::actor::Actor;
use super::upstream::Way;

/// The gateway answers everything sooner.
const PATIENCE: Duration = Duration::from_secs(8);

/// The route to the upstream that works.
const GOOD: &str = "good";

/// What the client got.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The client's own address: verdicts name it.
    pub client: SocketAddr,
    /// The status code.
    pub status: u16,
}

/// The gateway and the upstream that works.
pub struct Stage {
    gateway: Actor,
    good: Option<Actor>,
    /// Requests that were to succeed, and did.
    pub good_requests: u32,
}

impl Stage {
    /// Starts both.
    pub async fn set() -> anyhow::Result<Self> {
        let gateway = Actor::start(&["demo-gateway"]).await?;
        let mut stage = Self {
            gateway,
            good: None,
            good_requests: 0,
        };
        stage.bring_good().await?;
        Ok(stage)
    }

    /// Whose verdicts are the demo's own.
    pub fn gateway(&self) -> Pid {
        self.gateway.pid
    }

    /// Starts the upstream that works, where there is none.
    pub async fn bring_good(&mut self) -> anyhow::Result<()> {
        if self.good.is_some() {
            return Ok(());
        }
        let good = upstream(Way::Answer, Ipv4Addr::LOCALHOST).await?;
        self.route(GOOD, good.address, true).await?;
        self.good = Some(good);
        Ok(())
    }

    /// Ends it, so that another upstream is the only one.
    pub async fn dismiss_good(&mut self) -> anyhow::Result<()> {
        match self.good.take() {
            Some(good) => good.dismiss().await,
            None => Ok(()),
        }
    }

    /// Requests that must give no verdict.
    pub async fn good_requests(&mut self, count: u32) -> anyhow::Result<()> {
        for number in 0..count {
            let answer = self.ask(GOOD, &format!("{number}")).await?;
            ensure!(answer.status == 200, "a good request got {}", answer.status);
            self.good_requests += 1;
        }
        Ok(())
    }

    /// Leads a path's first segment to an upstream.
    pub async fn route(&mut self, name: &str, to: SocketAddr, keep: bool) -> anyhow::Result<()> {
        let keep = if keep { "keep" } else { "each" };
        self.gateway
            .tell(&format!("route {name} {to} {keep}"))
            .await
    }

    /// Asks the gateway, with a body that an upstream may leave unread.
    pub async fn ask(&self, name: &str, rest: &str) -> anyhow::Result<Answer> {
        let asked = tokio::time::timeout(PATIENCE, ask(self.gateway.address, name, rest));
        asked.await.context("the demo's gateway does not answer")?
    }
}

async fn ask(gateway: SocketAddr, name: &str, rest: &str) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(gateway)
        .await
        .context("cannot reach the demo's gateway")?;
    let client = stream.local_addr()?;
    let body = "quantity=1";
    let request = format!(
        "POST /{name}/{rest}?token=secret HTTP/1.1\r\nHost: demo\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read_buf(&mut answer).await?;
        ensure!(read > 0, "the demo's gateway closed without an answer");
    }
    let status = str::from_utf8(&answer)
        .ok()
        .and_then(|text| text.split(' ').nth(1));
    let status = status.and_then(|status| status.parse().ok());
    Ok(Answer {
        client,
        status: status.context("the demo's gateway answered nonsense")?,
    })
}

/// An address of loopback on which nothing listens: bound, never listened on, and let go again.
pub fn free_address(ip: Ipv4Addr) -> anyhow::Result<SocketAddr> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((ip, 0)).into())?;
    socket
        .local_addr()?
        .as_socket()
        .context("an address of no family")
}

/// An upstream on a port that it asks for by number, as services do.
pub async fn upstream(way: Way, ip: Ipv4Addr) -> anyhow::Result<Actor> {
    let address = free_address(ip)?.to_string();
    let way = way.to_possible_value().context("a way without a name")?;
    Actor::start(&["demo-upstream", way.get_name(), "--bind", &address]).await
}
