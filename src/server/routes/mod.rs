//! The issuer's HTTP: one small file for each kind of route.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self as layers, Next};
use axum::response::Response;
use axum::routing::{delete, get, post};
use http::StatusCode;

use crate::error::Rejection;
use crate::http::problem::Problem;
use crate::server::routes::middleware::{guarded, watched};
use crate::server::state::App;

pub(crate) mod admin;
mod admission;
mod body;
mod edges;
mod error;
mod health;
mod hop;
mod keys;
mod login;
mod metrics;
pub(crate) mod middleware;
mod openapi;
mod ops;
mod own_hosts;
mod pages;
pub(crate) mod request;
mod respond;
mod resume;
mod revocations;
mod schema;
mod sessions;
mod tickets;

/// Every route, under the configured base path.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let resume = || layers::from_fn_with_state(Arc::clone(app), resume::resume);
    let routes = Router::new()
        .route("/", get(pages::login))
        .route("/account", get(pages::account))
        .route("/reauthenticate", post(login::reauthenticate))
        .route("/hop", get(hop::hop))
        .route("/tickets", post(tickets::issue))
        .route("/session", get(sessions::show))
        .route("/sessions", get(sessions::list))
        .route("/sessions/{id}", delete(sessions::end))
        .route("/sessions/revoke-others", post(sessions::revoke_others))
        .route("/account/end", post(pages::end))
        .route("/account/end-others", post(pages::end_others))
        .route_layer(resume())
        .route("/sessions", post(sessions::start))
        .route("/style.css", get(pages::style))
        .route("/login", post(login::log_in))
        .route("/renew", post(login::renew))
        .route("/logout", post(login::log_out))
        .route("/tickets/redeem", post(hop::redeem))
        .route("/revocations", get(revocations::feed))
        .route("/edges/report", post(edges::report))
        .route("/.well-known/hallpass/feed-keys", get(keys::feed))
        .route("/.well-known/hallpass/keys", get(keys::cose))
        .route("/.well-known/jwks.json", get(keys::jwks))
        .route("/openapi.json", get(openapi::show))
        .route("/healthz", get(health::healthy))
        .route("/readyz", get(health::ready));
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
        // In a nested router, "/" matches only the base path without a slash.
        // All links use the one with a slash, so it needs a route of its own.
        let front = Router::new()
            .route(&format!("{base_path}/"), get(pages::login))
            .route_layer(resume())
            .with_state(Arc::clone(app));
        front.nest(&base_path, routes)
    };
    watched(guarded(routes, hsts), app)
}

/// Adds to every response the header for clients that make proofs.
async fn answer_proofs(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let mut response = next.run(request).await;
    let rejection = response.extensions_mut().remove::<Rejection>();
    app.hosts.proofs().answered(response, &headers, rejection.as_ref(), app.now())
}
