//! The answer to a refused client: problem details (RFC 9457), the same for
//! every reason. The precise reason goes to logs and metrics.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// The type of a problem that a new log-in solves. It tells clients to
/// reauthenticate, so they need not parse `WWW-Authenticate`.
pub const REAUTHENTICATION_REQUIRED: &str = "tag:hallpass,2026:reauthentication-required";

/// A problem document, of type `about:blank` (RFC 9457 §4.2.1) unless a program
/// can act on it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    /// The greatest accepted age of a log-in, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u64>,
}

/// What a person reads of [`Problem::not_renewed`].
pub(crate) const NOT_RENEWED: &str = "The login service does not answer. You are still logged in. Try again.";
/// When to try again, in seconds.
pub(crate) const RETRY_AFTER: &str = "2";

impl Problem {
    /// Makes a problem of this status; `detail` tells a person what to do.
    #[must_use]
    pub fn new(status: StatusCode, detail: &'static str) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { kind: "about:blank", title, status: status.as_u16(), detail, max_age: None }
    }

    /// 401: no session, or a refused one. It doesn't say which.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "This needs a session. Log in and try again.")
    }

    /// 403: a page of another site made the browser send the request.
    #[must_use]
    pub fn cross_site() -> Self {
        Self::new(StatusCode::FORBIDDEN, "This request was made by another site, so it is refused.")
    }

    /// 403: the session is admitted, but not allowed to do this.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "This session may not do this.")
    }

    /// 503: the token has expired, its session may go on, and the issuer, which
    /// could renew it, does not answer.
    #[must_use]
    pub fn not_renewed() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, NOT_RENEWED)
    }

    /// 401: the session's log-in is older than `max_age` seconds. `POST
    /// /reauthenticate` at the issuer helps.
    #[must_use]
    pub fn reauthentication_required(max_age: u64) -> Self {
        let detail = "This needs a more recent log-in. Give your password again and try again.";
        let problem = Self::new(StatusCode::UNAUTHORIZED, detail);
        Self { kind: REAUTHENTICATION_REQUIRED, max_age: Some(max_age), ..problem }
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
            // RFC 9110 §11.6.1: a 401 must say how to authenticate. RFC 9470 §3
            // adds that the authentication is too old.
            let challenge = match self.max_age {
                None => HeaderValue::from_static("Bearer"),
                Some(max_age) => HeaderValue::try_from(format!(
                    "Bearer error=\"insufficient_user_authentication\", \
                     error_description=\"More recent authentication is required\", max_age=\"{max_age}\""
                ))
                .unwrap_or(HeaderValue::from_static("Bearer")),
            };
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
