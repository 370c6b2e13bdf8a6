//! `POST /edges/report`: an edge's state.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use super::body::Body;
use super::error::{ApiError, ApiResult};
use super::schema::{Always, BadBody, NoSession};
use crate::revocation::sync::EdgeReport;
use crate::server::routes::request::RequestContext;
use crate::server::state::App;

/// How an edge stands, and what it has seen
#[utoipa::path(
    post, path = "/edges/report", tag = "edges",
    security(("edge" = [])),
    request_body(content = serde_json::Value, description = "As `hallpass::sync` writes it"),
    responses((status = 204, description = "Taken"), NoSession, BadBody, Always)
)]
pub(super) async fn report(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Body(report): Body<EdgeReport>,
) -> ApiResult<StatusCode> {
    let refused = |status, detail| {
        app.events.metrics.edge_report_refused();
        Err(ApiError::Problem(status, detail))
    };
    if !app.settings.edge_credential.admits(&context.headers) {
        tracing::warn!(event = "authn_login_fail", address = %context.peer(), "edge credential refused");
        return refused(StatusCode::UNAUTHORIZED, "This needs the edge credential.");
    }
    let now = app.now();
    if app.edges.report(&report, app.client_address(&context), now) {
        for anomaly in app.edge_anomalies.admit(&report, now) {
            app.events.watch.reported(anomaly);
        }
        Ok(StatusCode::NO_CONTENT)
    } else {
        refused(StatusCode::SERVICE_UNAVAILABLE, "There are too many edges.")
    }
}
