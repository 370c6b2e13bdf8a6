//! `POST /login`, `/renew`, `/reauthenticate` and `/logout`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use http::{HeaderValue, StatusCode, header};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use utoipa::ToSchema;

use super::body::{Body, wants_page};
use super::error::{ApiError, ApiResult, failed, unprocessable};
use super::pages;
use super::respond::{Transport, answer, with_cookie, with_device};
use super::schema::{
    Always, BadBody, CrossSite, NoSession, Problem as ProblemBody, RenewAnswer, SessionAnswer, TooMany,
};
use crate::error::Rejection;
use crate::event::{Event, EventKind, EventSink as _};
use crate::http::Credential;
use crate::issuer::RenewError;
use crate::server::login::password::Password;
use crate::server::routes::request::RequestContext;
use crate::server::state::App;

#[derive(Deserialize, ToSchema)]
pub(super) struct LogIn {
    username: String,
    #[schema(value_type = String, format = Password)]
    password: Password,
    /// A cookie unless said otherwise; with a proof, bearer.
    #[schema(inline)]
    transport: Option<Transport>,
    /// Where the browser goes afterwards.
    return_to: Option<String>,
    /// Asks for a longer session, if the issuer offers that.
    #[serde(default, deserialize_with = "checkbox")]
    remember: bool,
}

/// Reads a boolean of JSON, or the check box of a form.
pub(super) fn checkbox<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Json(bool),
        Form(String),
    }
    match Given::deserialize(deserializer)? {
        Given::Json(remember) => Ok(remember),
        Given::Form(text) if matches!(&*text, "on" | "true") => Ok(true),
        Given::Form(text) if text == "false" => Ok(false),
        Given::Form(_) => Err(D::Error::custom("remember is true or false")),
    }
}

/// Logs in
#[utoipa::path(
    post, path = "/login", tag = "sessions",
    request_body(
        content((LogIn = "application/json"), (LogIn = "application/x-www-form-urlencoded")),
    ),
    responses(
        (
            status = 200,
            description = "The session, and its cookie unless the token was asked for",
            body = SessionAnswer,
        ),
        (status = 303, description = "For a browser: on to where it came from"),
        NoSession, CrossSite, BadBody, TooMany, Always,
    )
)]
pub(super) async fn log_in(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Body(form): Body<LogIn>,
) -> ApiResult {
    // This applies to log-in too. Otherwise another site could log its visitor
    // in as somebody else and read what they then enter.
    if context.is_cross_site() {
        return Err(ApiError::CrossSite);
    }
    let binding = app.binding(&context)?;
    let by_default = if binding.is_some() { Transport::Bearer } else { Transport::Cookie };
    let transport = form.transport.unwrap_or(by_default);
    if binding.is_some() && transport == Transport::Cookie {
        // A browser can't make a proof for each request that carries the
        // cookie.
        let detail = "A session that is bound to a key has no cookie. Ask for \"transport\":\"bearer\".";
        return Err(unprocessable(detail));
    }
    let profile = app.profile(form.remember)?;
    let client = app.client(&context);
    let page = wants_page(&context.headers);
    let started =
        app.service.log_in(&form.username, form.password, binding, profile, &client, app.now()).await;
    let token = match started {
        Err(error) if page => {
            let form = pages::Form {
                username: &form.username,
                return_to: form.return_to.as_deref(),
                remember: form.remember,
            };
            return Ok(pages::log_in_again(&app, &form, &error));
        }
        started => started?,
    };
    if transport == Transport::Bearer {
        return Ok(answer(&app, &token, transport, json!({})));
    }
    let response = if page {
        let target = app.settings.return_target(form.return_to.as_deref());
        with_cookie(&app, &token, Redirect::to(&target).into_response())
    } else {
        answer(&app, &token, transport, json!({}))
    };
    Ok(with_device(&app, &token, &client, response))
}

#[derive(Deserialize, ToSchema)]
pub(super) struct Reauthenticate {
    #[schema(value_type = String, format = Password)]
    password: Password,
}

/// A new session with the same end, for a password given now
#[utoipa::path(
    post, path = "/reauthenticate", tag = "sessions",
    security(("cookie" = []), ("bearer" = []), ("dpop" = [])),
    request_body(
        content((Reauthenticate = "application/json"), (Reauthenticate = "application/x-www-form-urlencoded")),
    ),
    responses((status = 200, body = SessionAnswer), NoSession, CrossSite, BadBody, TooMany, Always)
)]
pub(super) async fn reauthenticate(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Body(form): Body<Reauthenticate>,
) -> ApiResult {
    let Ok(Some(credential)) = context.credential() else { return Err(ApiError::NoToken) };
    if context.is_cross_site() {
        return Err(ApiError::CrossSite);
    }
    let session = app.session(&context)?;
    let client = app.client(&context);
    let token = app.service.reauthenticate(&session, form.password, &client, app.now()).await?;
    Ok(answer(&app, &token, Transport::of(credential), json!({})))
}

/// The token to use from now on
#[utoipa::path(
    post, path = "/renew", tag = "sessions",
    security(("cookie" = []), ("bearer" = []), ("dpop" = [])),
    responses((status = 200, body = RenewAnswer), NoSession, CrossSite, Always)
)]
pub(super) async fn renew(State(app): State<Arc<App>>, context: RequestContext) -> ApiResult {
    let Ok(Some(credential)) = context.credential() else { return Err(ApiError::NoToken) };
    if matches!(credential, Credential::Cookie(_)) && context.is_cross_site() {
        return Err(ApiError::CrossSite);
    }
    let client = app.client(&context);
    match app.service.renew(credential, context.head(), &client, app.now()).await {
        Ok(renewal) => {
            let renewed = json!({ "renewed": renewal.renewed });
            let mut response = answer(&app, &renewal.token, Transport::of(credential), renewed);
            if !renewal.renewed {
                // The browser has this cookie. A slow answer must not overwrite
                // a newer one.
                response.headers_mut().remove(header::SET_COOKIE);
            }
            Ok(response)
        }
        Err(error @ (RenewError::Ledger(_) | RenewError::Mint(_))) => {
            Err(failed("The session could not be renewed. Try again.")(error))
        }
        Err(RenewError::Refused(rejection)) => {
            let (reason, address) = (rejection.reason(), app.client_address(&context));
            app.events.verdict(Err(reason));
            app.events.record(Event::new(EventKind::TokenRefused(reason), app.now()).from(address));
            Err(ApiError::Rejected(rejection))
        }
        Err(RenewError::Reuse { .. }) => Err(ApiError::NoToken),
    }
}

/// Ends the session, and makes the browser forget it
///
/// 204 means that no live session is behind the request. Where that can't be
/// decided the cookie stays, and the answer says so.
#[utoipa::path(
    post, path = "/logout", tag = "sessions",
    security(("cookie" = []), ("bearer" = []), ("dpop" = [])),
    responses(
        (status = 204, description = "No live session is behind the request, or not any more"),
        (status = 303, description = "The same for a browser: the log-in page"),
        (
            status = 400, description = "Two session cookies: which session to end is unclear",
            body = ProblemBody, content_type = "application/problem+json",
        ),
        NoSession, CrossSite, Always
    )
)]
pub(super) async fn log_out(State(app): State<Arc<App>>, context: RequestContext) -> ApiResult {
    if context.is_cross_site() {
        return Err(ApiError::CrossSite);
    }
    let credential = context.credential().map_err(|error| {
        tracing::info!(%error, "log-out refused");
        let detail = "There are two tokens in this request. Send one, or clear this site's cookies.";
        ApiError::Problem(StatusCode::BAD_REQUEST, detail)
    })?;
    if let Some(credential) = credential {
        // Time and revocation are ignored: an old token's session may live on
        // in its successor.
        match app.logging_out(&context, credential) {
            Ok(token) => {
                let ended = app.service.log_out(&token, &app.client(&context), app.now()).await;
                ended.map_err(failed("Log-out could not be recorded. Try again."))?;
            }
            // Such a token belongs to no session.
            Err(
                Rejection::Malformed { .. } | Rejection::WrongType { .. } | Rejection::BadSignature { .. },
            ) => {}
            Err(rejection @ Rejection::UnknownKey { .. }) => {
                // The key may be so new that this process has not read it yet.
                tracing::warn!(%rejection, "log-out undecided");
                return Err(ApiError::Unavailable("This service does not know the token's key. Try again."));
            }
            Err(rejection) => return Err(ApiError::Rejected(rejection)),
        }
    }
    let mut response = if wants_page(&context.headers) {
        Redirect::to(&format!("{}/", app.settings.base_path)).into_response()
    } else {
        StatusCode::NO_CONTENT.into_response()
    };
    let headers = response.headers_mut();
    app.settings.cookie.clear(headers);
    // Also removes the pages that the browser kept for its back button.
    headers.insert("clear-site-data", HeaderValue::from_static("\"cache\", \"storage\""));
    Ok(response)
}
