//! The public session keys.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::server::app::App;

/// Short, so that a new key is everywhere before it signs.
const CACHE: &str = "public, max-age=60";

pub(super) async fn cose(State(app): State<Arc<App>>) -> impl IntoResponse {
    let keys = app.keyring.session_keys().current();
    ([(CONTENT_TYPE, "application/cose-key-set"), (CACHE_CONTROL, CACHE)], keys.to_cose())
}

pub(super) async fn jwks(State(app): State<Arc<App>>) -> impl IntoResponse {
    let keys = app.keyring.session_keys().current();
    ([(CONTENT_TYPE, "application/jwk-set+json"), (CACHE_CONTROL, CACHE)], keys.to_jwks())
}

/// The public feed keys, for an edge that trusts on first use.
pub(super) async fn feed(State(app): State<Arc<App>>) -> Response {
    match app.keyring.feed_keys(app.now()) {
        Ok(keys) => ([(CONTENT_TYPE, "application/cose-key-set"), (CACHE_CONTROL, CACHE)], keys.to_cose())
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "no feed keys");
            super::login::unavailable("There are no feed keys.")
        }
    }
}
