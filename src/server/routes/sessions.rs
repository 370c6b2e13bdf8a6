//! A user's own sessions: `GET /session`, `GET /sessions`,
//! `DELETE /sessions/{id}`, `POST /sessions/revoke-others`. And
//! `POST /sessions`, with which another log-in starts a session.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::body::Body;
use super::error::{ApiError, ApiResult, failed, unprocessable};
use super::respond::{Transport, answer, no_store};
use super::schema::{
    Always, BadBody, CrossSite, NoSession, Problem as Problem_, RevokedOthers, SessionAnswer, SessionList,
    ShownSession, TooMany,
};
use crate::id::{SessionId, Subject};
use crate::issuer::store::SessionRecord;
use crate::server::login::password::Password;
use crate::server::login::{Authenticated, Client, LogInError};
use crate::server::routes::request::RequestContext;
use crate::server::state::App;
use crate::session::Session;
use crate::time::UnixTime;
use crate::wire::amr;

/// How long after entering the password a user may end all other sessions
/// without entering it again (ASVS 5.0 7.5.2).
const FRESH: Duration = Duration::from_mins(5);

/// The session of this request
#[utoipa::path(
    get, path = "/session", tag = "sessions",
    security(("cookie" = []), ("bearer" = []), ("dpop" = [])),
    responses((status = 200, body = ShownSession), NoSession, Always)
)]
pub(super) async fn show(State(app): State<Arc<App>>, context: RequestContext) -> ApiResult {
    let session = app.session_of_any_host(&context)?;
    Ok(no_store(Json(json!({ "session": session })).into_response()))
}

/// The user's live sessions
#[utoipa::path(
    get, path = "/sessions", tag = "sessions",
    security(("cookie" = []), ("bearer" = []), ("dpop" = [])),
    responses((status = 200, body = SessionList), NoSession, Always)
)]
pub(super) async fn list(State(app): State<Arc<App>>, context: RequestContext) -> ApiResult {
    let session = app.session(&context)?;
    let records = app.sessions_of(&session).await?;
    let shown = |record: &SessionRecord| {
        json!({
            "session_id": record.id,
            "current": record.id == session.id(),
            "address": record.address,
            "user_agent": record.user_agent,
            "started_at": record.started,
            "last_renewal_at": record.last_renewal,
            "ends_at": record.ends,
            "remembered": record.is_remembered(),
        })
    };
    let sessions: Vec<_> = records.iter().map(shown).collect();
    Ok(no_store(Json(json!({ "sessions": sessions })).into_response()))
}

/// Ends one of the user's sessions
#[utoipa::path(
    delete, path = "/sessions/{id}", tag = "sessions",
    security(("cookie" = []), ("bearer" = []), ("dpop" = [])),
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 204, description = "Ended"),
        (
            status = 404, description = "No such session of this user", body = Problem_,
            content_type = "application/problem+json",
        ),
        NoSession, CrossSite, Always,
    )
)]
pub(super) async fn end(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    context: RequestContext,
) -> ApiResult<StatusCode> {
    let session = app.acting(&context)?;
    // The same answer for an unknown session and for somebody else's.
    let not_yours = ApiError::Problem(StatusCode::NOT_FOUND, "You have no such session.");
    let Ok(id) = id.parse::<SessionId>() else { return Err(not_yours) };
    let ended = app.service.end_session(&session, id, &app.client(&context), app.now()).await;
    if ended.map_err(failed("The session could not be ended. Try again."))? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(not_yours)
    }
}

#[derive(Deserialize, ToSchema)]
pub(super) struct RevokeOthers {
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Password>,
}

/// Ends the user's other sessions
#[utoipa::path(
    post, path = "/sessions/revoke-others", tag = "sessions",
    security(("cookie" = []), ("bearer" = []), ("dpop" = [])),
    request_body(
        content = Option<RevokeOthers>,
        description = "Not needed in the first five minutes after the password was given",
    ),
    responses(
        (status = 200, body = RevokedOthers),
        NoSession, CrossSite,
        (
            status = 422, description = "The body is neither empty nor JSON with a password",
            body = Problem_, content_type = "application/problem+json",
        ),
        (status = 413, description = "Over 16 KiB"),
        TooMany, Always,
    )
)]
pub(super) async fn revoke_others(
    State(app): State<Arc<App>>,
    context: RequestContext,
    body: Bytes,
) -> ApiResult {
    let session = app.acting(&context)?;
    let password = match &*body {
        b"" => None,
        json => {
            let body = serde_json::from_slice::<RevokeOthers>(json);
            body.map_err(|_| unprocessable("The body is JSON with a password."))?.password
        }
    };
    match end_others(&app, &session, password, &app.client(&context)).await {
        Ok(ended) => Ok(no_store(Json(json!({ "revoked": ended })).into_response())),
        Err(EndOthers::PasswordNeeded) => {
            Err(ApiError::Problem(StatusCode::FORBIDDEN, "Give your password again, in the body."))
        }
        Err(EndOthers::Failed(error)) => Err(error.into()),
    }
}

/// Why the other sessions were not ended.
pub(super) enum EndOthers {
    PasswordNeeded,
    Failed(LogInError),
}

impl<E: Into<LogInError>> From<E> for EndOthers {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Ends every other session, after the password was entered now or just before.
pub(super) async fn end_others(
    app: &App,
    session: &Session,
    password: Option<Password>,
    client: &Client,
) -> Result<u64, EndOthers> {
    let now = app.now();
    match password {
        Some(password) => app.service.confirm(session, password, client, now).await?,
        None if now.since(session.auth_time()) <= FRESH => {}
        None => return Err(EndOthers::PasswordNeeded),
    }
    Ok(app.service.end_others(session, client, now).await?.added)
}

/// What another log-in (OIDC, a framework's own) says of somebody whom it has
/// authenticated.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoggedInElsewhere {
    subject: String,
    #[serde(default)]
    claims: serde_json::Value,
    /// When, in RFC 3339; now unless given.
    auth_time: Option<String>,
    /// How the user authenticated (RFC 8176), like `["pwd", "otp"]`: at most 8.
    #[serde(default)]
    amr: Vec<String>,
    /// The user's address and agent, for the list of sessions.
    #[schema(value_type = Option<String>)]
    address: Option<std::net::IpAddr>,
    user_agent: Option<String>,
    /// Asks for a longer session, if the issuer offers that.
    #[serde(default)]
    remember: bool,
}

/// Starts a session for somebody whom another log-in has authenticated
#[utoipa::path(
    post, path = "/sessions", tag = "sessions",
    security(("service" = [])),
    request_body = LoggedInElsewhere,
    responses((status = 200, body = SessionAnswer), NoSession, BadBody, TooMany, Always)
)]
pub(super) async fn start(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Body(user): Body<LoggedInElsewhere>,
) -> ApiResult {
    if !app.settings.service_credential.admits(&context.headers) {
        tracing::warn!(event = "authn_login_fail", address = %context.peer(), "service credential refused");
        return Err(ApiError::Problem(StatusCode::UNAUTHORIZED, "This needs the service credential."));
    }
    let profile = app.profile(user.remember)?;
    let now = app.now();
    let auth_time = match user.auth_time.as_deref().map(UnixTime::parse_rfc3339) {
        None => Some(now),
        // Not in the future: a token could not contain that.
        Some(at) => at.map(|at| at.min(now)),
    };
    let (Ok(subject), Some(auth_time)) = (Subject::new(user.subject), auth_time) else {
        return Err(unprocessable("The subject or the auth_time can't be used."));
    };
    let amr: Vec<_> = user.amr.iter().map(String::as_str).collect();
    if amr::encode(&amr).is_err() {
        return Err(unprocessable("amr has at most 8 methods, each of 1 to 32 visible ASCII characters."));
    }
    let mut headers = HeaderMap::new();
    if let Some(agent) = user.user_agent.and_then(|agent| agent.try_into().ok()) {
        headers.insert(header::USER_AGENT, agent);
    }
    let client = match user.address {
        Some(address) => Client::new(address, &headers),
        None => Client::new(context.peer(), &headers).by_service(),
    };
    let user = Authenticated { subject: &subject, claims: &user.claims, auth_time, amr: &amr, profile };
    let token = app.service.log_in_elsewhere(&user, &client, now).await?;
    Ok(answer(&app, &token, Transport::Bearer, json!({})))
}
