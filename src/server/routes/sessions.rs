//! A user's own sessions: `GET /session`, `GET /sessions`,
//! `DELETE /sessions/{id}`, `POST /sessions/revoke-others`; and
//! `POST /sessions`, by which another log-in starts one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use serde::Deserialize;
use serde_json::json;

use super::body::Body;
use super::login::{Transport, answer, no_store, problem, unavailable};
use crate::http::problem::Problem;
use crate::http::{Credential, SESSION_COOKIE, csrf};
use crate::id::{SessionId, Subject};
use crate::server::app::App;
use crate::server::login_service::{Client, LogInError};
use crate::server::password::Password;
use crate::session::Session;
use crate::time::UnixTime;

/// How long after giving the password a user may end all other sessions
/// without giving it again (ASVS 5.0 7.5.2).
const FRESH: Duration = Duration::from_mins(5);

pub(super) async fn show(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    no_store(match app.session(&headers) {
        Some(session) => Json(json!({ "session": session })).into_response(),
        None => Problem::unauthorized().into_response(),
    })
}

pub(super) async fn list(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let Some(session) = app.session(&headers) else { return Problem::unauthorized().into_response() };
    match app.sessions_of(&session).await {
        Ok(records) => {
            let sessions: Vec<_> = records
                .iter()
                .map(|record| {
                    json!({
                        "session_id": record.id,
                        "current": record.id == session.id(),
                        "address": record.address,
                        "user_agent": record.user_agent,
                        "started_at": record.started,
                        "last_renewal_at": record.last_renewal,
                        "ends_at": record.ends,
                    })
                })
                .collect();
            no_store(Json(json!({ "sessions": sessions })).into_response())
        }
        Err(error) => problem(&error),
    }
}

/// The session of a request that changes something, which another site's page
/// must not have made.
pub(super) fn acting(app: &App, headers: &HeaderMap, uri: &Uri) -> Result<Session, Problem> {
    let by_cookie = !matches!(Credential::find(headers, SESSION_COOKIE), Ok(Some(Credential::Bearer(_))));
    if by_cookie && csrf::check(headers, uri).is_err() {
        return Err(Problem::cross_site());
    }
    app.session(headers).ok_or_else(Problem::unauthorized)
}

pub(super) async fn end(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let session = match acting(&app, &headers, &uri) {
        Ok(session) => session,
        Err(refusal) => return refusal.into_response(),
    };
    let Ok(id) = id.parse::<SessionId>() else { return not_yours() };
    let client = app.client(peer, &headers);
    match app.service.end_session(&session, id, &client, app.now()).await {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => not_yours(),
        Err(error) => {
            tracing::error!(%error, "a session could not be ended");
            unavailable("The session could not be ended. Try again.")
        }
    }
}

/// The same for a session that isn't and for somebody else's.
fn not_yours() -> Response {
    Problem::new(StatusCode::NOT_FOUND, "You have no such session.").into_response()
}

#[derive(Deserialize)]
struct RevokeOthers {
    password: Option<Password>,
}

pub(super) async fn revoke_others(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let session = match acting(&app, &headers, &uri) {
        Ok(session) => session,
        Err(refusal) => return refusal.into_response(),
    };
    let password = match &*body {
        b"" => None,
        json => match serde_json::from_slice::<RevokeOthers>(json) {
            Ok(body) => body.password,
            Err(_) => {
                return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "The body is JSON with a password.")
                    .into_response();
            }
        },
    };
    let client = app.client(peer, &headers);
    match end_others(&app, &session, password, &client).await {
        Ok(ended) => no_store(Json(json!({ "revoked": ended })).into_response()),
        Err(EndOthers::PasswordNeeded) => {
            Problem::new(StatusCode::FORBIDDEN, "Give your password again, in the body.").into_response()
        }
        Err(EndOthers::Failed(error)) => problem(&error),
    }
}

/// Why the others live on.
pub(super) enum EndOthers {
    PasswordNeeded,
    Failed(LogInError),
}

impl<E: Into<LogInError>> From<E> for EndOthers {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Ends every other session, after the password was given, now or just before.
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
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoggedInElsewhere {
    subject: String,
    #[serde(default)]
    claims: serde_json::Value,
    /// When, in RFC 3339; now unless given.
    auth_time: Option<String>,
    /// The user's address and agent, for the list of sessions.
    address: Option<std::net::IpAddr>,
    user_agent: Option<String>,
}

pub(super) async fn start(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Body(asked): Body<LoggedInElsewhere>,
) -> Response {
    if !app.settings.service_credential.admits(&headers) {
        tracing::warn!(event = "authn_login_fail", address = %peer.ip(), "service credential refused");
        return Problem::new(StatusCode::UNAUTHORIZED, "This needs the service credential.").into_response();
    }
    let now = app.now();
    let auth_time = match asked.auth_time.as_deref().map(UnixTime::parse_rfc3339) {
        None => Some(now),
        // Not from the future: a token could not say so.
        Some(at) => at.map(|at| at.min(now)),
    };
    let (Ok(subject), Some(auth_time)) = (Subject::new(asked.subject), auth_time) else {
        return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "The subject or the auth_time can't be used.")
            .into_response();
    };
    let mut user = HeaderMap::new();
    if let Some(agent) = asked.user_agent.and_then(|agent| agent.try_into().ok()) {
        user.insert(header::USER_AGENT, agent);
    }
    let client = match asked.address {
        Some(address) => Client::new(address, &user),
        None => Client::new(peer.ip(), &user).by_service(),
    };
    match app.service.log_in_elsewhere(&subject, &asked.claims, auth_time, &client, now).await {
        Ok(token) => answer(&app, &token, Transport::Bearer, json!({})),
        Err(error) => problem(&error),
    }
}
