//! The issuer's HTTP: one small file for each kind of route.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::{Request, State};
use axum::middleware::{self as layers, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::{HeaderValue, StatusCode, header};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use self::openapi::Always;
use crate::error::Rejection;
use crate::http::problem::Problem;
use crate::issuer::store::Store;
use crate::server::routes::middleware::{panicked, watched};
use crate::server::state::App;

pub(crate) mod admin;
mod body;
mod edges;
mod hop;
mod keys;
mod login;
mod metrics;
pub(crate) mod middleware;
mod openapi;
mod ops;
mod pages;
pub(crate) mod request;
mod revocations;
mod sessions;
mod tickets;

/// Largest request body, in bytes: a log-in with the longest name and password
/// fits several times.
const MAX_BODY: usize = 16 * 1024;
/// How long a request may take, its body's arrival included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Every route, under the configured base path.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let routes = Router::new()
        .route("/", get(pages::login))
        .route("/account", get(pages::account))
        .route("/style.css", get(pages::style))
        .route("/login", post(login::log_in))
        .route("/renew", post(login::renew))
        .route("/reauthenticate", post(login::reauthenticate))
        .route("/logout", post(login::log_out))
        .route("/hop", get(hop::hop))
        .route("/tickets", post(tickets::issue))
        .route("/tickets/redeem", post(hop::redeem))
        .route("/session", get(sessions::show))
        .route("/sessions", get(sessions::list).post(sessions::start))
        .route("/sessions/{id}", delete(sessions::end))
        .route("/sessions/revoke-others", post(sessions::revoke_others))
        .route("/account/end", post(pages::end))
        .route("/account/end-others", post(pages::end_others))
        .route("/revocations", get(revocations::feed))
        .route("/edges/report", post(edges::report))
        .route("/.well-known/hallpass/feed-keys", get(keys::feed))
        .route("/.well-known/hallpass/keys", get(keys::cose))
        .route("/.well-known/jwks.json", get(keys::jwks))
        .route("/openapi.json", get(openapi::show))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready));
    let hsts = app.settings.secure_transport;
    let base_path = app.settings.base_path.clone();
    let routes = routes
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This address takes another method.")
        })
        .layer(layers::from_fn_with_state(Arc::clone(app), answer_proofs))
        .with_state(Arc::clone(app));
    let routes = if base_path.is_empty() {
        routes
    } else {
        // Nested, "/" is the base path alone; everything leads to the one with
        // a slash after it.
        let front =
            Router::new().route(&format!("{base_path}/"), get(pages::login)).with_state(Arc::clone(app));
        front.nest(&base_path, routes)
    };
    watched(guarded(routes, hsts), app)
}

/// Whether it runs
#[utoipa::path(
    get, path = "/healthz", tag = "operation",
    responses((status = 200, content_type = "text/plain", body = String))
)]
async fn healthy() -> &'static str {
    "ok\n"
}

/// Whether it can work: the store answers
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    responses((status = 200, content_type = "text/plain", body = String), Always)
)]
async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.service.store.position().await {
        Ok(_) => "ready\n".into_response(),
        Err(error) => {
            tracing::error!(%error, "not ready");
            login::unavailable("The store does not answer.")
        }
    }
}

/// What a client that makes proofs is told beside every answer.
async fn answer_proofs(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let mut response = next.run(request).await;
    let rejection = response.extensions_mut().remove::<Rejection>();
    app.hosts.proofs().answered(response, &headers, rejection.as_ref(), app.now())
}

/// What holds for every route: bounded bodies, bounded time, careful browsers.
fn guarded(routes: Router, hsts: bool) -> Router {
    routes
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "There is nothing at this address.") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(layers::from_fn(move |request, next| security_headers(request, next, hsts)))
}

/// What every answer says to browsers, whatever it is.
async fn security_headers(request: Request, next: Next, hsts: bool) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut say = |name: header::HeaderName, value: &'static str| {
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
