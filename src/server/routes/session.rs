//! `GET /session`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;

use crate::http::problem::Problem;
use crate::server::app::App;

pub(super) async fn show(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let mut response = match app.session(&headers) {
        Some(session) => Json(json!({ "session": session })).into_response(),
        None => Problem::unauthorized().into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
