//! `POST /edges/report`: how an edge stands.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};

use super::body::Body;
use crate::http::problem::Problem;
use crate::revocation::sync::EdgeReport;
use crate::server::app::App;

pub(super) async fn report(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Body(report): Body<EdgeReport>,
) -> Response {
    let refused = |status, detail| {
        app.events.metrics.edge_report_refused();
        Problem::new(status, detail).into_response()
    };
    if !app.settings.edge_credential.admits(&headers) {
        tracing::warn!(event = "authn_login_fail", address = %peer.ip(), "edge credential refused");
        return refused(StatusCode::UNAUTHORIZED, "This needs the edge credential.");
    }
    if app.edges.report(&report, app.client_address(peer, &headers), app.now()) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        refused(StatusCode::SERVICE_UNAVAILABLE, "There are too many edges.")
    }
}
