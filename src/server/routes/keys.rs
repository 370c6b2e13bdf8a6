//! The public session keys.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::error::{ApiResult, failed};
use super::schema::Always;
use crate::server::state::App;

/// Short, so that a new key is known everywhere before it signs.
const CACHE: &str = "public, max-age=60";

/// The public session keys
#[utoipa::path(
    get, path = "/.well-known/hallpass/keys", tag = "edges",
    responses(
        (
            status = 200, description = "A COSE key set",
            content_type = "application/cose-key-set", body = Vec<u8>,
        ),
        Always,
    )
)]
pub(super) async fn cose(State(app): State<Arc<App>>) -> impl IntoResponse {
    let keys = app.keyring.session_keys().current();
    ([(CONTENT_TYPE, "application/cose-key-set"), (CACHE_CONTROL, CACHE)], keys.to_cose())
}

/// The same as JSON Web Keys
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "edges",
    responses(
        (status = 200, content_type = "application/jwk-set+json", body = serde_json::Value),
        Always,
    )
)]
pub(super) async fn jwks(State(app): State<Arc<App>>) -> impl IntoResponse {
    let keys = app.keyring.session_keys().current();
    ([(CONTENT_TYPE, "application/jwk-set+json"), (CACHE_CONTROL, CACHE)], keys.to_jwks())
}

/// The public feed keys, for an edge that trusts on first use
#[utoipa::path(
    get, path = "/.well-known/hallpass/feed-keys", tag = "edges",
    responses(
        (
            status = 200, description = "A COSE key set",
            content_type = "application/cose-key-set", body = Vec<u8>,
        ),
        Always,
    )
)]
pub(super) async fn feed(State(app): State<Arc<App>>) -> ApiResult<impl IntoResponse> {
    let keys = app.keyring.feed_keys(app.now()).map_err(failed("There are no feed keys."))?;
    Ok(([(CONTENT_TYPE, "application/cose-key-set"), (CACHE_CONTROL, CACHE)], keys.to_cose()))
}
