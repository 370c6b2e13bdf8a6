//! Pages for people. They work without JavaScript, and there is none.

use std::net::SocketAddr;
use std::sync::Arc;

use askama::Template;
use axum::extract::{ConnectInfo, Form, Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Deserialize;

use super::login::problem;
use super::sessions;
use crate::http::cookie;
use crate::http::problem::Problem;
use crate::issuer::store::SessionRecord;
use crate::server::app::{App, Settings};
use crate::server::login_service::LogInError;
use crate::server::password::Password;
use crate::session::Session;

#[derive(Template)]
#[template(path = "login.html")]
struct LogInPage<'a> {
    base_path: &'a str,
    username: &'a str,
    return_to: Option<&'a str>,
    error: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    base_path: &'a str,
    session: &'a Session,
    sessions: &'a [SessionRecord],
    error: Option<&'static str>,
}

#[derive(Deserialize)]
pub(super) struct LogInQuery {
    return_to: Option<String>,
}

pub(super) async fn login(
    State(app): State<Arc<App>>,
    Query(query): Query<LogInQuery>,
    headers: HeaderMap,
) -> Response {
    if app.session(&headers).is_some() {
        let target = app.settings.return_target(query.return_to.as_deref());
        return private(Redirect::to(&target).into_response());
    }
    log_in_page(&app.settings, "", query.return_to.as_deref(), None)
}

/// The form again, with what to do about the error above it.
pub(super) fn log_in_again(
    app: &App,
    username: &str,
    return_to: Option<&str>,
    error: &LogInError,
) -> Response {
    let mut response = log_in_page(&app.settings, username, return_to, Some(&error.advice_on_page()));
    *response.status_mut() = error.status();
    if let Some(after) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, after);
    }
    response
}

fn log_in_page(
    settings: &Settings,
    username: &str,
    return_to: Option<&str>,
    error: Option<&str>,
) -> Response {
    page(
        settings,
        &LogInPage {
            base_path: &settings.base_path,
            username,
            return_to: return_to.filter(|target| settings.may_return_to(target)),
            error,
        },
    )
}

pub(super) async fn account(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    match app.session(&headers) {
        Some(session) => account_page(&app, &session, None).await,
        None => private(Redirect::to(&format!("{}/", app.settings.base_path)).into_response()),
    }
}

async fn account_page(app: &App, session: &Session, error: Option<(StatusCode, &'static str)>) -> Response {
    let sessions = match app.sessions_of(session).await {
        Ok(sessions) => sessions,
        Err(error) => return problem(&error),
    };
    let template = AccountPage {
        base_path: &app.settings.base_path,
        session,
        sessions: &sessions,
        error: error.map(|(_, message)| message),
    };
    let mut response = page(&app.settings, &template);
    if let Some((status, _)) = error {
        *response.status_mut() = status;
    }
    response
}

#[derive(Deserialize)]
pub(super) struct End {
    session_id: String,
}

/// Ends one of the user's sessions and shows the rest.
pub(super) async fn end(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    Form(form): Form<End>,
) -> Response {
    let session = match sessions::acting(&app, &headers, &uri) {
        Ok(session) => session,
        Err(refusal) => return refusal.into_response(),
    };
    let client = app.client(peer, &headers);
    if let Ok(id) = form.session_id.parse()
        && let Err(error) = app.service.end_session(&session, id, &client, app.now()).await
    {
        return problem(&error.into());
    }
    // A session that is not there any more is what was asked for.
    private(Redirect::to(&format!("{}/account", app.settings.base_path)).into_response())
}

#[derive(Deserialize)]
pub(super) struct EndOthers {
    password: Password,
}

/// Ends all the user's other sessions, after asking for the password again.
pub(super) async fn end_others(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    Form(form): Form<EndOthers>,
) -> Response {
    let session = match sessions::acting(&app, &headers, &uri) {
        Ok(session) => session,
        Err(refusal) => return refusal.into_response(),
    };
    let client = app.client(peer, &headers);
    match sessions::end_others(&app, &session, Some(form.password), &client).await {
        Ok(_) => private(Redirect::to(&format!("{}/account", app.settings.base_path)).into_response()),
        Err(sessions::EndOthers::Failed(LogInError::Refused) | sessions::EndOthers::PasswordNeeded) => {
            let refused = (StatusCode::UNAUTHORIZED, "The password is wrong; nothing was ended.");
            account_page(&app, &session, Some(refused)).await
        }
        Err(sessions::EndOthers::Failed(error)) => problem(&error),
    }
}

pub(super) async fn style() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=3600")],
        include_str!("../templates/style.css"),
    )
}

/// A page, which nobody may keep: it shows who is logged in.
fn page(settings: &Settings, template: &impl Template) -> Response {
    let Ok(html) = template.render() else {
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made.")
            .into_response();
    };
    let mut response = private(Html(html).into_response());
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, settings.page_policy.clone());
    response
}

fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    cookie::vary_on_cookie(headers);
    response
}
