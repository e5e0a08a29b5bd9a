//! The demo's gateway: one thread, which closes a failed upstream connection and then answers 502,
//! as nginx does.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::costume;
use super::message::Message;

/// The demo's gateway; it is told its routes on stdin and ends with it
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Where a path's first segment leads.
struct Route {
    upstream: SocketAddr,
    /// Whether to keep the connection for the next request.
    keep: bool,
    kept: Option<TcpStream>,
}

const BAD_GATEWAY: &[u8] =
    b"HTTP/1.1 502 Bad Gateway\r\nServer: demo-gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Serves one client after the other until stdin ends.
pub async fn run(_arguments: &Arguments) -> anyhow::Result<()> {
    costume(c"demo-gateway").context("cannot take the gateway's name")?;
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("cannot listen")?;
    println!("listening {}", listener.local_addr()?);
    let mut routes = BTreeMap::new();
    let mut orders = super::orders()?;
    loop {
        tokio::select! {
            order = orders.next_line() => match order? {
                Some(order) => learn(&mut routes, &order)?,
                None => return Ok(()),
            },
            client = listener.accept() => {
                // A client that goes away is its own affair.
                let _ = serve(client?.0, &mut routes).await;
            }
        }
    }
}

/// `route NAME ADDRESS keep|each`.
fn learn(routes: &mut BTreeMap<String, Route>, order: &str) -> anyhow::Result<()> {
    let words: Vec<&str> = order.split(' ').collect();
    let ["route", name, upstream, keep] = words.as_slice() else {
        anyhow::bail!("'{order}' is no route");
    };
    let upstream: SocketAddr = upstream.parse().with_context(|| order.to_owned())?;
    anyhow::ensure!(upstream.ip().is_loopback(), "the demo stays on loopback");
    let route = Route {
        upstream,
        keep: *keep == "keep",
        kept: None,
    };
    routes.insert((*name).to_owned(), route);
    println!("routed");
    Ok(())
}

async fn serve(mut client: TcpStream, routes: &mut BTreeMap<String, Route>) -> io::Result<()> {
    let request = Message::read(&mut client).await?;
    let name = request
        .words()
        .nth(1)
        .and_then(|path| path.split('/').nth(1))
        .unwrap_or("");
    let answer = match routes.get_mut(name) {
        Some(route) => forward(route, &request).await,
        None => Err(io::ErrorKind::NotFound.into()),
    };
    match answer {
        Ok(answer) => client.write_all(&answer.bytes).await,
        Err(_) => client.write_all(BAD_GATEWAY).await,
    }
}

/// The upstream connection is closed on the way out of here, before the 502 is written.
async fn forward(route: &mut Route, request: &Message) -> io::Result<Message> {
    let mut upstream = match route.kept.take() {
        Some(kept) => kept,
        None => TcpStream::connect(route.upstream).await?,
    };
    upstream.write_all(&request.bytes).await?;
    let answer = Message::read(&mut upstream).await?;
    route.kept = route.keep.then_some(upstream);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_learnt_and_stay_on_loopback() {
        let mut routes = BTreeMap::new();
        learn(&mut routes, "route shop 127.0.0.1:8000 keep").expect("valid");
        assert!(routes["shop"].keep);
        assert!(learn(&mut routes, "route shop 10.0.0.1:80 each").is_err());
        assert!(learn(&mut routes, "route shop").is_err());
    }
}
