//! A request's body (JSON from programs, a form from pages) and its query.

use axum::Json;
use axum::extract::{Form, FromRequest, FromRequestParts, Query, Request};
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use crate::http::problem::Problem;

/// The body's content, by its Content-Type.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let kind = kind.split(';').next().unwrap_or("").trim();
        // The library's messages quote the body, which holds a password, so the
        // answer gives no details.
        if kind.eq_ignore_ascii_case("application/json") {
            let body = Json::<T>::from_request(request, state).await;
            body.map(|Json(body)| Self(body)).map_err(|error| refused(error.status()))
        } else if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let body = Form::<T>::from_request(request, state).await;
            body.map(|Form(body)| Self(body)).map_err(|error| refused(error.status()))
        } else {
            Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE))
        }
    }
}

fn refused(status: StatusCode) -> Response {
    let detail = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "The body is too large.",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "Send application/json or application/x-www-form-urlencoded.",
        _ => "The body is not what this address takes.",
    };
    let status = if status.is_client_error() { status } else { StatusCode::BAD_REQUEST };
    Problem::new(status, detail).into_response()
}

/// The query's parameters.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Query(params) = Query::from_request_parts(parts, state).await.map_err(|_| {
            let detail = "The query is not what this address takes.";
            Problem::new(StatusCode::BAD_REQUEST, detail).into_response()
        })?;
        Ok(Self(params))
    }
}

/// Returns whether a person in a browser waits for the answer.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"))
}
