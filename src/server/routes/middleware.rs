//! Layers for every request: an id, which its log lines and its response carry,
//! and metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use rand::TryRng;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;
use tracing::Instrument as _;

use crate::http::problem::Problem;
use crate::id::hex;
use crate::server::state::App;
use crate::service::panics::{Panicked, panicked};

/// Largest request body, in bytes: several times a log-in with the longest name
/// and password.
const MAX_BODY: usize = 16 * 1024;
/// Time limit for a request, the arrival of its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is accepted, in characters.
const MAX_ID: usize = 128;

/// Adds the id and the metrics to every request of `routes`.
pub(crate) fn watched(routes: Router, app: &Arc<App>) -> Router {
    let app = Arc::clone(app);
    routes.layer(middleware::from_fn(move |request, next| watch(Arc::clone(&app), request, next)))
}

async fn watch(app: Arc<App>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let believed = peer.is_some_and(|peer| app.settings.trusted_proxies.contains(peer));
    let id = believed.then(|| given(request.headers())).flatten().unwrap_or_else(made);
    // Overwrite a client's id, so that inner layers see only ours.
    request.headers_mut().insert(&X_REQUEST_ID, id.clone());
    let route = route(&request, &app.settings.base_path);
    // At error level, so that no filter drops it: it is on every line. It
    // leaves out the path, which may hold a ticket.
    let span = tracing::error_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        route,
        otel.name = tracing::field::Empty,
        otel.kind = tracing::field::Empty,
    );
    #[cfg(feature = "otel")]
    crate::service::trace::begin(&span, &request, &route, believed);
    async move {
        let (metrics, started) = (&app.events.metrics, Instant::now());
        let in_flight = metrics.request();
        let mut response = next.run(request).await;
        drop(in_flight);
        let status = response.status();
        metrics.answered(&route, status, started.elapsed());
        if response.extensions().get::<Panicked>().is_some() {
            metrics.panicked();
        }
        #[cfg(feature = "otel")]
        crate::service::trace::end(&tracing::Span::current(), status);
        tracing::debug!(status = status.as_u16(), "answered");
        response.headers_mut().insert(&X_REQUEST_ID, id);
        response
    }
    .instrument(span)
    .await
}

/// Returns the route's template without the base path, never the client's text.
fn route(request: &Request, base_path: &str) -> Box<str> {
    let Some(matched) = request.extensions().get::<MatchedPath>() else { return "none".into() };
    let path = matched.as_str();
    match path.strip_prefix(base_path) {
        Some("") => "/".into(),
        Some(rest) => rest.into(),
        None => path.into(),
    }
}

/// Returns the id from a proxy, if it is a single id of harmless characters.
fn given(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut ids = headers.get_all(&X_REQUEST_ID).iter();
    let (id, None) = (ids.next()?, ids.next()) else { return None };
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~:+/=-".contains(byte);
    ((1..=MAX_ID).contains(&id.len()) && id.as_bytes().iter().all(harmless)).then(|| id.clone())
}

/// Makes an id of 128 random bits. An id need not be secret, so without
/// randomness a fixed one is better than no answer.
fn made() -> HeaderValue {
    let mut bytes = [0; 16];
    let _ = rand::rngs::SysRng.try_fill_bytes(&mut bytes);
    HeaderValue::try_from(hex(&bytes)).unwrap_or(HeaderValue::from_static("none"))
}

/// Adds what every route needs: bounded bodies, bounded time, security headers.
pub(super) fn guarded(routes: Router, hsts: bool) -> Router {
    routes
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "There is nothing at this address.") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(move |request, next| security_headers(request, next, hsts)))
}

/// Adds the security headers to every response.
async fn security_headers(request: Request, next: Next, hsts: bool) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut say = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    say(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    say(header::REFERRER_POLICY, "no-referrer");
    say(header::X_FRAME_OPTIONS, "DENY");
    say(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    if hsts {
        say(header::STRICT_TRANSPORT_SECURITY, "max-age=63072000");
    }
    response
}
