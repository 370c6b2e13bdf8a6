//! `GET /healthz` and `GET /readyz`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::respond::unavailable;
use super::schema::Always;
use crate::issuer::store::Store as _;
use crate::server::state::App;

/// Whether it runs
#[utoipa::path(
    get, path = "/healthz", tag = "operation",
    responses((status = 200, content_type = "text/plain", body = String))
)]
pub(super) async fn healthy() -> &'static str {
    "ok\n"
}

/// Whether it can work: the store answers
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    responses((status = 200, content_type = "text/plain", body = String), Always)
)]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.service.store.position().await {
        Ok(_) => "ready\n".into_response(),
        Err(error) => {
            tracing::error!(%error, "not ready");
            unavailable("The store does not answer.")
        }
    }
}
