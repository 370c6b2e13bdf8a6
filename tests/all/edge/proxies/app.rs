//! The service behind the proxy, which reports what reached it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use http::HeaderMap;
use serde_json::json;

pub(super) struct App {
    pub(super) address: SocketAddr,
    reached: Arc<AtomicUsize>,
    /// Ends the service with the test.
    _runtime: tokio::runtime::Runtime,
}

impl App {
    pub(super) fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let reached = Arc::new(AtomicUsize::new(0));
        let routes = Router::new()
            .route("/cacheable", get(cacheable))
            .route("/sets-cookie", get(sets_cookie))
            .route("/ws", any(websocket))
            .fallback(any(echo))
            .with_state(Arc::clone(&reached));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { address, reached, _runtime: runtime }
    }

    /// Returns the number of requests that reached the service.
    pub(super) fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

type Reached = State<Arc<AtomicUsize>>;

async fn echo(State(reached): Reached, request: Request) -> Response {
    reached.fetch_add(1, Ordering::SeqCst);
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    Json(json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    }))
    .into_response()
}

/// For some caches, these override Cache-Control (RFC 9213).
pub(super) const TARGETED: [&str; 3] =
    ["cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control"];

/// A response that a CDN would store and share.
async fn cacheable(State(reached): Reached) -> Response {
    reached.fetch_add(1, Ordering::SeqCst);
    let public = "public, max-age=3600";
    let headers = ["cache-control"].into_iter().chain(TARGETED).map(|name| (name, public));
    (AppendHeaders(headers), "for everybody").into_response()
}

async fn sets_cookie(State(reached): Reached) -> Response {
    reached.fetch_add(1, Ordering::SeqCst);
    ([("set-cookie", "basket=7; Path=/")], "a cookie of my own").into_response()
}

async fn websocket(State(reached): Reached, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    reached.fetch_add(1, Ordering::SeqCst);
    let subject = headers.get("x-hallpass-subject").map_or("nobody", |value| value.to_str().unwrap());
    let subject = subject.to_owned();
    upgrade.on_upgrade(async move |mut socket| {
        while let Some(Ok(Message::Text(text))) = socket.recv().await {
            if socket.send(format!("{subject}: {text}").into()).await.is_err() {
                return;
            }
        }
    })
}
