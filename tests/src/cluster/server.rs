//! The server's side of the conversation: HTTP over TLS, lists, and watches that stream.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State as Known};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use super::state::{Manner, State};

/// A server that is up; dropping it cuts every connection.
pub struct Serving {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Binds and serves.
    pub fn start(addr: SocketAddr, acceptor: TlsAcceptor, state: Arc<State>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind(addr))?;
        let routes = Router::new()
            .route("/api/v1/pods", get(pods))
            .with_state(state);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            // With the runtime every connection's task ends.
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, acceptor, routes) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, routes: Router) {
    while let Ok((connection, _)) = listener.accept().await {
        let (acceptor, routes) = (acceptor.clone(), routes.clone());
        tokio::spawn(async move {
            let Ok(secure) = acceptor.accept(connection).await else {
                return;
            };
            let service = TowerToHyperService::new(routes);
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(secure), service).await;
        });
    }
}

async fn pods(
    Known(state): Known<Arc<State>>,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    state.ask(uri.to_string());
    let mut moved = state.moved.subscribe();
    while state.manner() == Manner::Late {
        if moved.changed().await.is_err() {
            break;
        }
    }
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if !state.believes(authorization) {
        return status(401, "Unauthorized");
    }
    if let Manner::Refuse(code) = state.manner() {
        return status(
            code,
            "pods is forbidden: User \"probe502\" cannot list resource \"pods\"",
        );
    }
    // Whoever watches the pods of every node is a burden to the cluster.
    let selector = query
        .get("fieldSelector")
        .and_then(|selector| selector.strip_prefix("spec.nodeName="));
    let Some(node) = selector else {
        return status(400, "only the pods of one node are given");
    };
    if query
        .get("watch")
        .is_some_and(|watch| ["1", "true"].contains(&watch.as_str()))
    {
        return watch(state, node.to_owned(), &query);
    }
    axum::Json(state.list(node)).into_response()
}

fn watch(state: Arc<State>, node: String, query: &HashMap<String, String>) -> Response {
    let number = |name: &str| query.get(name).and_then(|value| value.parse::<u64>().ok());
    let (version, seconds) = (
        number("resourceVersion").unwrap_or(0),
        number("timeoutSeconds").unwrap_or(60),
    );
    let bookmarks = query
        .get("allowWatchBookmarks")
        .is_some_and(|value| value == "true");
    let (send, lines) = mpsc::channel::<Result<String, Infallible>>(16);
    tokio::spawn(async move {
        let told = tell(&state, &node, (version, bookmarks), &send);
        let _ = tokio::time::timeout(Duration::from_secs(seconds), told).await;
    });
    let body = Body::from_stream(ReceiverStream::new(lines));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn tell(
    state: &State,
    node: &str,
    (mut version, bookmarks): (u64, bool),
    send: &mpsc::Sender<Result<String, Infallible>>,
) {
    let mut moved = state.moved.subscribe();
    loop {
        let (mut events, now) = match state.since(version, node) {
            Some(news) => news,
            None => {
                let gone = failure(410, &format!("too old resource version: {version}"));
                (vec![json!({"type": "ERROR", "object": gone})], version)
            }
        };
        let over = events.iter().any(|event| event["type"] == "ERROR");
        if bookmarks && !over {
            let metadata = json!({"resourceVersion": now.to_string(), "creationTimestamp": null});
            let mark = json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata,
                "spec": {"containers": null}, "status": {}});
            events.push(json!({"type": "BOOKMARK", "object": mark}));
        }
        for event in events {
            if send.send(Ok(format!("{event}\n"))).await.is_err() {
                return;
            }
        }
        // Who forgets ends every watch: the next one begins where there is nothing to begin with.
        if over || state.manner() != Manner::Well {
            return;
        }
        version = now;
        let _ = tokio::time::timeout(Duration::from_secs(1), moved.changed()).await;
    }
}

fn status(code: u16, why: &str) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, axum::Json(failure(code.as_u16(), why))).into_response()
}

fn failure(code: u16, why: &str) -> Value {
    let reason = match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        410 => "Expired",
        _ => "InternalError",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": why, "reason": reason, "code": code,
    })
}
