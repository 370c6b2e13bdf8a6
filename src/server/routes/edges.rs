//! `POST /edges/report`: how an edge stands.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::body::Body;
use super::schema::{Always, BadBody, NoSession};
use crate::http::problem::Problem;
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
) -> Response {
    let refused = |status, detail| {
        app.events.metrics.edge_report_refused();
        Problem::new(status, detail).into_response()
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
        StatusCode::NO_CONTENT.into_response()
    } else {
        refused(StatusCode::SERVICE_UNAVAILABLE, "There are too many edges.")
    }
}
