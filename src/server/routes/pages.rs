//! Pages for people. They work without JavaScript, and there is none.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

use crate::http::cookie;
use crate::http::problem::Problem;
use crate::server::app::{App, Settings};
use crate::server::login_service::LogInError;
use crate::session::Session;

#[derive(Template)]
#[template(path = "login.html")]
struct LogInPage<'a> {
    base_path: &'a str,
    username: &'a str,
    return_to: Option<&'a str>,
    error: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    base_path: &'a str,
    session: &'a Session,
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
    let mut response = log_in_page(&app.settings, username, return_to, Some(error.advice()));
    *response.status_mut() = error.status();
    response
}

fn log_in_page(
    settings: &Settings,
    username: &str,
    return_to: Option<&str>,
    error: Option<&'static str>,
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
        Some(session) => {
            page(&app.settings, &AccountPage { base_path: &app.settings.base_path, session: &session })
        }
        None => private(Redirect::to(&format!("{}/", app.settings.base_path)).into_response()),
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
