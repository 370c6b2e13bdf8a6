//! Responses that several routes share.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::http::{Credential, cookie};
use crate::id::SubjectHash;
use crate::issuer::IssuedToken;
use crate::server::login::Client;
use crate::server::login::limits::DEVICE_LIFETIME;
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

/// Returns `{"session","renewable_for":…}` with a cookie, or the same with
/// `token`, with `more` added.
pub(super) fn answer(
    app: &App,
    token: &IssuedToken,
    transport: Transport,
    more: serde_json::Value,
) -> Response {
    let mut body = more;
    body["session"] = json!(token.session());
    body["renewable_for"] = renewable_for(app, token).as_secs().into();
    match transport {
        Transport::Bearer => {
            body["token"] = token.as_str().into();
            if token.session().bound_to().is_some() {
                // How the client must present it (RFC 9449 §5).
                body["token_type"] = "DPoP".into();
            }
            no_store(Json(body).into_response())
        }
        Transport::Cookie => with_cookie(app, token, Json(body).into_response()),
    }
}

/// How long the session can be renewed without a request in between.
fn renewable_for(app: &App, token: &IssuedToken) -> Duration {
    token.renewable_until().since(app.now())
}

/// Sets the session cookie. It outlives its token: the browser shows it for
/// renewal.
pub(super) fn with_cookie(app: &App, token: &IssuedToken, mut response: Response) -> Response {
    app.settings.cookie.set(response.headers_mut(), token.as_str(), renewable_for(app, token));
    response
}

/// Sets the device cookie, so that log-in recognizes this browser.
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

/// Marks a response as not to be cached, since it depends on the cookie.
pub(super) fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    cookie::vary_on_cookie(headers);
    response
}
