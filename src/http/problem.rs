//! What a refused client gets: problem details (RFC 9457), the same for every
//! reason. The precise reason goes to logs and metrics.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// A problem document of type `about:blank` (RFC 9457 §4.2.1).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
}

impl Problem {
    /// A problem of this status; `detail` tells a person what to do.
    #[must_use]
    pub fn new(status: StatusCode, detail: &'static str) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { kind: "about:blank", title, status: status.as_u16(), detail }
    }

    /// 401: no session, or none that is accepted. Never says which.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "This needs a session. Log in and try again.")
    }

    /// 403: a page of another site made the browser send this.
    #[must_use]
    pub fn cross_site() -> Self {
        Self::new(StatusCode::FORBIDDEN, "This request was made by another site, so it is refused.")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = body.into_response();
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED.as_u16() {
            // RFC 9110 §11.6.1: a 401 must say how to authenticate.
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
