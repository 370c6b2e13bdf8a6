//! The issuer's HTTP: one small file for each kind of route.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::http::problem::Problem;
use crate::server::app::App;

mod body;
mod keys;
mod login;
mod pages;
mod session;

/// Largest request body, in bytes: a log-in with the longest name and password
/// fits several times.
const MAX_BODY: usize = 16 * 1024;
/// How long a request may take, its body's arrival included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Every route, under the configured base path.
pub(crate) fn router(app: Arc<App>) -> Router {
    let routes = Router::new()
        .route("/", get(pages::login))
        .route("/account", get(pages::account))
        .route("/style.css", get(pages::style))
        .route("/login", post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/session", get(session::show))
        .route("/.well-known/hallpass/keys", get(keys::cose))
        .route("/.well-known/jwks.json", get(keys::jwks))
        .route("/healthz", get(|| async { "ok\n" }));
    let hsts = app.settings.secure_transport;
    let base_path = app.settings.base_path.clone();
    let routes = routes
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This address takes another method.")
        })
        .with_state(app);
    let routes = if base_path.is_empty() { routes } else { Router::new().nest(&base_path, routes) };
    routes
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "There is nothing at this address.") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn(move |request, next| security_headers(request, next, hsts)))
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
