//! `GET /healthz` and `GET /readyz`.

use std::sync::Arc;

use axum::extract::State;

use super::error::{ApiResult, failed};
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
pub(super) async fn ready(State(app): State<Arc<App>>) -> ApiResult<&'static str> {
    app.service.store.position().await.map_err(failed("The store does not answer."))?;
    Ok("ready\n")
}
