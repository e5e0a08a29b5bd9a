//! The HTTP endpoints: metrics, health, the live page. Small requests, few connections, no files.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, oneshot, watch};
use tokio::task::JoinHandle;

use super::feed::{Doors, Question, Summary};
use super::metrics;
use crate::commands::explain;

/// A scraper, a supervisor's probes and some browsers.
const CONNECTIONS: usize = 64;
/// Who has not sent a request's header by then is let go.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// A request's header at most.
const HEADER_BYTES: usize = 16 * 1024;
/// Live pages at once: those stay, and must leave places for scrapers and probes.
const FEEDS: usize = 16;
/// Who takes nothing of an answer for so long is let go, in milliseconds (TCP_USER_TIMEOUT).
const STUCK: u32 = 15_000;
/// A proxy between a browser and the agent must not think the feed dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

const PAGE: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/page.js");
const STYLE: &str = include_str!("page/page.css");
/// Nothing from elsewhere, nothing inline, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Who is serving where; dropping it ends it.
pub struct Server {
    /// The address that it got.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the handlers know.
#[derive(Clone)]
struct Known {
    doors: Doors,
    registry: Registry,
    feeds: Arc<Semaphore>,
}

impl Server {
    /// Binds and serves.
    pub async fn start(
        address: SocketAddr,
        doors: Doors,
        registry: Registry,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| {
            format!("cannot serve on {address}; `--listen` takes another address")
        })?;
        let address = listener.local_addr()?;
        let routes = routes(Known {
            doors,
            registry,
            feeds: Arc::new(Semaphore::new(FEEDS)),
        });
        let routes = match address.ip().is_loopback() {
            true => routes.layer(axum::middleware::from_fn(own_name)),
            false => routes,
        };
        Ok(Self {
            address,
            task: tokio::spawn(accept(listener, routes)),
        })
    }

    /// Frees its address.
    pub async fn end(&mut self) {
        self.task.abort();
        // It ends by being aborted: there is nothing to hear of it.
        _ = (&mut self.task).await;
    }
}

fn routes(known: Known) -> Router {
    Router::new()
        .route("/", get(|| text("text/html; charset=utf-8", PAGE)))
        .route(
            "/page.js",
            get(|| text("text/javascript; charset=utf-8", SCRIPT)),
        )
        .route("/page.css", get(|| text("text/css; charset=utf-8", STYLE)))
        .route("/metrics", get(scrape))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/api/newest", get(newest))
        .route("/api/summary", get(summary))
        .route("/api/feed", get(feed))
        .route("/api/causes/{id}", get(cause))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is no such page\n") })
        .layer(axum::middleware::map_response(guarded))
        .with_state(known)
}

/// Every connection in a task of its own, so many at once; the rest waits in the kernel's queue.
async fn accept(listener: TcpListener, routes: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (_ending, ended) = watch::channel(());
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((connection, _)) = listener.accept().await else {
            // Out of descriptors, most likely: trying again at once would only spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Where it cannot be set, the one who is stuck keeps a place; no more is lost.
        _ = rustix::net::sockopt::set_tcp_user_timeout(&connection, STUCK);
        let service = TowerToHyperService::new(routes.clone());
        let mut ended = ended.clone();
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .max_buf_size(HEADER_BYTES)
                .serve_connection(TokioIo::new(connection), service);
            // The server's end is the end of its connections: its sender is dropped with it.
            tokio::select! {
                _ = served => {}
                _ = ended.changed() => {}
            }
            drop(place);
        });
    }
}

/// On loopback nobody asks for another name, unless a page from elsewhere had its own name point here.
async fn own_name(request: Request, next: Next) -> Response {
    let named = request.headers().get(header::HOST);
    let is_own = named.is_none_or(|host| host.to_str().is_ok_and(is_own_name));
    if is_own {
        next.run(request).await
    } else {
        let why = "ask for this host by its address or as localhost\n";
        (StatusCode::MISDIRECTED_REQUEST, why).into_response()
    }
}

/// An address or `localhost`, with or without a port.
fn is_own_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok()
        || bare.is_some_and(|name| name.parse::<Ipv6Addr>().is_ok())
}

/// What no browser may do with what it gets here.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn text(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], text)
}

async fn scrape(State(known): State<Known>) -> Response {
    match metrics::render(&known.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => broken(&error.to_string()),
    }
}

/// Alive is who still takes turns: the loop itself must answer.
async fn healthy(State(known): State<Known>) -> Response {
    match ask(&known, Question::Summary).await {
        Some(_) => "ok\n".into_response(),
        None => broken("the agent's loop does not answer"),
    }
}

/// Ready is who sees failed answers: what is missing is said, and is no reason to be taken away.
async fn ready(State(known): State<Known>) -> Response {
    match ask(&known, Question::Summary).await {
        Some(Summary { missing, .. }) if missing.is_empty() => "ready\n".into_response(),
        Some(Summary { missing, .. }) => {
            let missing = missing.join(", ");
            format!("ready; degraded: {missing} missing (see `probe502 doctor`)\n").into_response()
        }
        None => broken("the agent's loop does not answer"),
    }
}

async fn summary(State(known): State<Known>) -> Response {
    match ask(&known, Question::Summary).await {
        Some(summary) => axum::Json(summary).into_response(),
        None => broken("the agent's loop does not answer"),
    }
}

async fn newest(State(known): State<Known>) -> Response {
    let Some(verdicts) = ask(&known, Question::Newest).await else {
        return broken("the agent's loop does not answer");
    };
    let objects: Vec<&str> = verdicts.iter().map(AsRef::as_ref).collect();
    let array = format!("[{}]", objects.join(","));
    ([(header::CONTENT_TYPE, "application/json")], array).into_response()
}

async fn feed(State(known): State<Known>) -> Response {
    let Ok(place) = Arc::clone(&known.feeds).try_acquire_owned() else {
        return broken("too many live pages are open");
    };
    Sse::new(events(known.doors.verdicts.subscribe(), place))
        .keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE))
        .into_response()
}

fn events(
    verdicts: broadcast::Receiver<Arc<str>>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((verdicts, place), |(mut verdicts, place)| async move {
        let event = match verdicts.recv().await {
            Ok(json) => Event::default().data(json.as_ref()),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                Event::default().event("missed").data(missed.to_string())
            }
            Err(broadcast::error::RecvError::Closed) => return None,
        };
        Some((Ok(event), (verdicts, place)))
    })
}

async fn cause(Path(id): Path<String>) -> Response {
    match explain::text_of(&id) {
        Some(text) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response(),
        None => (StatusCode::NOT_FOUND, "there is no such cause\n").into_response(),
    }
}

async fn ask<T>(known: &Known, question: impl Fn(oneshot::Sender<T>) -> Question) -> Option<T> {
    let (to, answer) = oneshot::channel();
    let asked = async {
        known.doors.questions.send(question(to)).await.ok()?;
        answer.await.ok()
    };
    tokio::time::timeout(HEADER_TIME, asked).await.ok()?
}

fn broken(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_names_of_this_host() {
        for own in [
            "127.0.0.1:9502",
            "localhost",
            "LocalHost:1",
            "[::1]:9502",
            "[::1]",
            "10.0.0.7",
        ] {
            assert!(is_own_name(own), "{own}");
        }
        for other in [
            "evil.example:9502",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "::1",
            "[x]",
        ] {
            assert!(!is_own_name(other), "{other}");
        }
    }
}
