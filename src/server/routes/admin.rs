//! The operators' own address: `POST /admin/revoke`, `GET /metrics`, and the
//! page.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};

use super::body::Body;
use super::error::{ApiError, ApiResult, failed, unprocessable};
use super::own_hosts::on_own_hosts;
use super::schema::{Always, BadBody, NoSession, Revocation};
use crate::server::operators::revoke::Revoke;
use crate::server::routes::middleware::{guarded, watched};
use crate::server::state::App;

/// The routes of `--admin-listen`.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let routes = Router::new()
        .route("/admin/revoke", post(revoke))
        .route("/metrics", get(metrics))
        .merge(super::ops::router())
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(Arc::clone(app));
    on_own_hosts(watched(guarded(routes, false), app), Arc::clone(&app.settings.admin_hosts))
}

/// In the Prometheus text format, version 0.0.4; on the operators' own address
#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    responses((status = 200, content_type = "text/plain", body = String), Always)
)]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> ApiResult<impl IntoResponse> {
    let text = app.events.metrics.scrape(&app).map_err(failed("The metrics are not to be had."))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text))
}

/// Revokes, as an operator; on the operators' own address
#[utoipa::path(
    post, path = "/admin/revoke", tag = "operation",
    security(("operator" = [])),
    request_body = Revoke,
    responses((status = 200, body = Revocation), NoSession, BadBody, Always)
)]
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Body(what): Body<Revoke>,
) -> ApiResult<impl IntoResponse> {
    if !app.settings.operator_credential.admits(&headers) {
        tracing::warn!(event = "authn_login_fail", address = %peer.ip(), "operator credential refused");
        return Err(ApiError::Problem(StatusCode::UNAUTHORIZED, "This needs the operator credential."));
    }
    let target = what.target().map_err(|_| unprocessable("The id or the subject can't be used."))?;
    let event = what.event(Some(peer.ip()));
    let revoked = app.service.revoke(target, Some(event), Some(peer.ip()), app.now()).await;
    let revoked = revoked.map_err(failed("The revocation could not be recorded. Try again."))?;
    Ok(Json(what.answer(&revoked)))
}
