//! Answers that several routes give.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::error::Rejection;
use crate::event::Limit;
use crate::http::problem::Problem;
use crate::http::{Credential, cookie};
use crate::id::SubjectHash;
use crate::issuer::IssuedToken;
use crate::issuer::store::StoreError;
use crate::server::login::limits::{DEVICE_LIFETIME, Limited};
use crate::server::login::{Client, LogInError};
use crate::server::state::App;

/// How the token travels.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Transport {
    #[default]
    Cookie,
    Bearer,
}

impl Transport {
    /// As the request's own token came.
    pub(super) const fn of(credential: Credential<'_>) -> Self {
        match credential {
            Credential::Cookie(_) => Self::Cookie,
            Credential::Bearer(_) | Credential::Dpop(_) => Self::Bearer,
        }
    }
}

/// `{"session":…}` with a cookie, or `{"token","session":…}`, beside `more`.
pub(super) fn answer(
    app: &App,
    token: &IssuedToken,
    transport: Transport,
    more: serde_json::Value,
) -> Response {
    let mut body = more;
    body["session"] = json!(token.session());
    match transport {
        Transport::Bearer => {
            body["token"] = token.as_str().into();
            if token.session().bound_to().is_some() {
                // How it is to be shown (RFC 9449 §5).
                body["token_type"] = "DPoP".into();
            }
            no_store(Json(body).into_response())
        }
        Transport::Cookie => with_cookie(app, token, Json(body).into_response()),
    }
}

pub(super) fn with_cookie(app: &App, token: &IssuedToken, mut response: Response) -> Response {
    let max_age = token.session().expires_at().since(app.now());
    app.settings.cookie.set(response.headers_mut(), token.as_str(), max_age);
    response
}

/// Lets log-in know this browser again.
pub(super) fn with_device(
    app: &App,
    token: &IssuedToken,
    client: &Client,
    mut response: Response,
) -> Response {
    let (account, now) = (SubjectHash::of(token.session().subject()), app.now());
    let known = app.service.device(account, None, client, now);
    if let Some(value) = app.service.limits.devices.cookie(account, known, now) {
        cookie::set_device(response.headers_mut(), &value, DEVICE_LIFETIME);
    }
    response
}

pub(super) fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl LogInError {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Refused
            | Self::Proof(_)
            | Self::Store(StoreError::UserChanged | StoreError::ParentOver) => StatusCode::UNAUTHORIZED,
            Self::Limited(_) | Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Token(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// When to try again.
    pub(super) fn retry_after(&self) -> Option<HeaderValue> {
        match self {
            Self::Limited(limited) => Some(limited.retry_after.as_secs().into()),
            Self::Throttled(wait) => Some(wait.as_secs().into()),
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => Some(HeaderValue::from_static("2")),
            _ => None,
        }
    }

    /// The same, for a page.
    pub(super) fn advice_on_page(&self) -> String {
        match self {
            Self::Limited(limited) => {
                let attempts = matches!(limited.limit, Limit::Account | Limit::Failures);
                let elsewhere = if attempts {
                    " In a browser in which you logged in before, you need not wait."
                } else {
                    ""
                };
                let advice = self.advice().trim_end_matches(" Try again later.");
                let wait = humantime::format_duration(limited.retry_after);
                format!("{advice} Try again in {wait}.{elsewhere}")
            }
            _ => self.advice().to_owned(),
        }
    }

    /// What the person at the other end can do.
    pub(super) const fn advice(&self) -> &'static str {
        match self {
            Self::Refused => "The user name or the password is wrong.",
            Self::Store(StoreError::UserChanged) => "This user may not log in, or has just been changed.",
            Self::Store(StoreError::ParentOver) => "This session has ended. Log in again.",
            Self::Limited(Limited { limit: Limit::SessionsOfAccount | Limit::SessionsOfAddress, .. }) => {
                "There are too many sessions. Log out where you don't need one, or try again later."
            }
            Self::Limited(Limited { limit: Limit::Feed, .. }) => {
                "Too many requests for the feed from your network. Try again later."
            }
            Self::Limited(_) => "Too many attempts to log in. Try again later.",
            Self::Proof(_) => "The proof of the key is refused. Make another, with the nonce of this answer.",
            Self::Throttled(_) => "Log-ins from your network are refused for a while. Try again later.",
            Self::Busy => "Too many people are logging in. Try again in a moment.",
            Self::Store(_) => "Log-in is not possible at the moment. Try again in a moment.",
            Self::Token(_) => "Log-in is not possible. Tell whoever runs this service to look at its log.",
        }
    }
}

pub(super) fn problem(error: &LogInError) -> Response {
    if error.status().is_server_error() && !matches!(error, LogInError::Busy) {
        tracing::error!(%error, "log-in failed");
    }
    let mut response = Problem::new(error.status(), error.advice()).into_response();
    if let LogInError::Proof(why) = error {
        response.extensions_mut().insert(Rejection::from(*why));
    }
    if let Some(after) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, after);
    }
    response
}

pub(super) fn unavailable(detail: &'static str) -> Response {
    let mut response = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

/// An answer that nobody may keep, since it depends on the cookie.
pub(super) fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    cookie::vary_on_cookie(headers);
    response
}
