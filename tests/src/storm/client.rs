//! The storm's clients: a connection a request, as many at once as asked for.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::wire::header;
use super::{FAULTS, Fault, REFUSED, Weather};
use crate::accuracy::luck::Luck;
use crate::client::{body, next_id};

/// One request and what came of it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// How it was broken; none for a good one.
    pub fault: Option<Fault>,
    /// The path.
    pub path: String,
    /// Where it was asked.
    pub door: SocketAddr,
    /// The client's address: no two requests share it.
    pub client: Option<SocketAddr>,
    /// The status; none where the gateway closed without an answer.
    pub status: Option<u16>,
    /// When it came.
    pub at: Instant,
}

/// Longer than any gateway waits here.
const PATIENCE: Duration = Duration::from_secs(40);

/// Sends them all; good ones are as many as broken ones.
///
/// # Errors
/// When there is no runtime.
pub fn storm(doors: [SocketAddr; 2], weather: &Weather, luck: &mut Luck) -> Result<Vec<Sent>> {
    let planned: Vec<(Option<Fault>, usize)> = (0..weather.requests)
        .map(|_| {
            let broken = luck.between(0, 2) == 1;
            let fault = broken.then(|| luck.one_of(&FAULTS));
            (fault, luck.between(1, 4000) as usize)
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(all(doors, weather, planned))
}

async fn all(
    doors: [SocketAddr; 2],
    weather: &Weather,
    planned: Vec<(Option<Fault>, usize)>,
) -> Result<Vec<Sent>> {
    let room = Arc::new(Semaphore::new(weather.at_once));
    let mut asked = JoinSet::new();
    for (number, (fault, size)) in (1u32..).zip(planned) {
        let place = Arc::clone(&room).acquire_owned().await?;
        let refused = fault.is_some_and(|fault| fault.name == REFUSED);
        let door = doors[usize::from(refused)];
        let path = if weather.identical {
            "/storm".to_owned()
        } else {
            format!("/storm/{}", next_id())
        };
        asked.spawn(async move {
            let sent = one((own_address(number), door), fault, path, size).await;
            drop(place);
            sent
        });
    }
    Ok(asked.join_all().await)
}

/// Ports are used again within a storm, and a verdict names its request by the client's address.
fn own_address(number: u32) -> Ipv4Addr {
    let [_, high, middle, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 64 | high, middle, low)
}

async fn one(
    (own, door): (Ipv4Addr, SocketAddr),
    fault: Option<Fault>,
    path: String,
    size: usize,
) -> Sent {
    let mut sent = Sent {
        fault,
        path,
        door,
        client: None,
        status: None,
        at: Instant::now(),
    };
    let answered = tokio::time::timeout(PATIENCE, ask(own, &mut sent, size)).await;
    if let Ok(Ok((status, at))) = answered {
        sent.status = Some(status);
        sent.at = at;
    }
    sent
}

async fn ask(own: Ipv4Addr, sent: &mut Sent, size: usize) -> Result<(u16, Instant)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((own, 0).into())?;
    let mut stream = socket.connect(sent.door).await?;
    stream.set_nodelay(true)?;
    sent.client = Some(stream.local_addr()?);
    let name = sent.fault.map_or("", |fault| fault.name);
    let posts = name == "reset-unread";
    let (method, size) = if posts { ("POST", size) } else { ("GET", 0) };
    let length = if posts {
        format!("Content-Length: {size}\r\n")
    } else {
        String::new()
    };
    let request = format!(
        "{method} {} HTTP/1.1\r\nHost: shop.test\r\nX-Fault: {name}\r\n{length}\r\n",
        sent.path
    );
    let mut bytes = request.into_bytes();
    bytes.extend(body(size));
    stream.write_all(&bytes).await?;
    answer(&mut stream).await
}

/// Reads it whole: a client that leaves early would be another fault.
async fn answer(stream: &mut TcpStream) -> Result<(u16, Instant)> {
    let mut seen = Vec::new();
    let end = loop {
        if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        anyhow::ensure!(stream.read_buf(&mut seen).await? > 0, "closed");
    };
    let at = Instant::now();
    let head = String::from_utf8_lossy(&seen[..end]).into_owned();
    let status = head.get(9..12).unwrap_or_default().parse()?;
    let length = header(&head, "content-length").and_then(|text| text.parse::<usize>().ok());
    while seen.len() < end + length.unwrap_or(0) {
        if stream.read_buf(&mut seen).await? == 0 {
            break;
        }
    }
    Ok((status, at))
}
