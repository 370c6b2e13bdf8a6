//! `POST /login` and `POST /logout`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Deserialize;
use serde_json::json;

use super::body::{Body, wants_page};
use super::pages;
use crate::http::problem::Problem;
use crate::http::{cookie, csrf};
use crate::issuer::IssuedToken;
use crate::server::app::App;
use crate::server::login_service::{Client, LogInError};
use crate::server::password::Password;

#[derive(Deserialize)]
pub(super) struct LogIn {
    username: String,
    password: Password,
    #[serde(default)]
    transport: Transport,
    /// Where the browser goes afterwards.
    return_to: Option<String>,
}

/// How the token travels.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Transport {
    #[default]
    Cookie,
    Bearer,
}

pub(super) async fn log_in(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    Body(form): Body<LogIn>,
) -> Response {
    // Log-in too: else another site could log its visitor in as somebody else
    // and read what they then enter.
    if csrf::check(&headers, &uri).is_err() {
        return Problem::cross_site().into_response();
    }
    let client = Client::new(peer.ip(), &headers);
    let page = wants_page(&headers);
    match app.service.log_in(&form.username, form.password, &client, app.now()).await {
        Ok(token) if form.transport == Transport::Bearer => {
            no_store(Json(json!({ "token": token.as_str(), "session": token.session() })).into_response())
        }
        Ok(token) => {
            let mut response = if page {
                Redirect::to(&app.settings.return_target(form.return_to.as_deref())).into_response()
            } else {
                Json(json!({ "session": token.session() })).into_response()
            };
            set_cookie(&app, &token, &mut response);
            response
        }
        Err(error) if page => pages::log_in_again(&app, &form.username, form.return_to.as_deref(), &error),
        Err(error) => problem(&error),
    }
}

fn set_cookie(app: &App, token: &IssuedToken, response: &mut Response) {
    let max_age = token.session().expires_at().since(app.now());
    cookie::set(response.headers_mut(), token.as_str(), max_age);
}

fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn problem(error: &LogInError) -> Response {
    let mut response = Problem::new(error.status(), error.advice()).into_response();
    if error.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    }
    response
}

/// Ends the session, and makes the browser forget it. Answers the same whether
/// there was one: whoever wants to be logged out is.
pub(super) async fn log_out(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Response {
    if csrf::check(&headers, &uri).is_err() {
        return Problem::cross_site().into_response();
    }
    if let Some(session) = app.session(&headers)
        && let Err(error) = app.service.log_out(&session, app.now()).await
    {
        // Not "logged out" while a copy of the token still works.
        tracing::error!(%error, "log-out could not be recorded");
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Log-out could not be recorded. Try again.")
            .into_response();
    }
    let mut response = if wants_page(&headers) {
        Redirect::to(&format!("{}/", app.settings.base_path)).into_response()
    } else {
        StatusCode::NO_CONTENT.into_response()
    };
    let headers = response.headers_mut();
    cookie::clear(headers);
    // Pages that the browser kept for its back button go too.
    headers.insert("clear-site-data", HeaderValue::from_static("\"cache\", \"storage\""));
    response
}
