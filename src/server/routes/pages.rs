//! Pages for people. They use no JavaScript.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::{StatusCode, header};
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::{Body, Params};
use super::error::ApiResult;
use super::respond::private;
use super::schema::{Always, BadBody, CrossSite, NoSession, Problem as Unusable, TooMany};
use super::sessions;
use crate::http::problem::Problem;
use crate::issuer::store::SessionRecord;
use crate::server::login::LogInError;
use crate::server::login::password::Password;
use crate::server::routes::request::RequestContext;
use crate::server::state::{App, Settings};
use crate::service::style::style_sheet;
use crate::session::Session;

#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LogInPage<'a> {
    pub(super) base_path: &'a str,
    pub(super) username: &'a str,
    pub(super) return_to: Option<&'a str>,
    pub(super) error: Option<&'a str>,
    /// The state of the check box, if there is one.
    pub(super) remember: Option<bool>,
}

/// What the user entered, apart from the password.
#[derive(Default)]
pub(super) struct Form<'a> {
    pub(super) username: &'a str,
    pub(super) return_to: Option<&'a str>,
    pub(super) remember: bool,
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
    /// The oldest log-in, in seconds, that will do where the browser wants to
    /// go: an older session is not sent back there, which would refuse it again.
    max_age: Option<u64>,
}

/// The log-in page
#[utoipa::path(
    get, path = "/", tag = "pages",
    params(
        ("return_to" = Option<String>, Query, description = "Where the browser goes afterwards"),
        ("max_age" = Option<u64>, Query, description = "The oldest log-in that will do there, in seconds"),
    ),
    responses(
        (status = 200, content_type = "text/html", body = String),
        (status = 303, description = "Whoever is logged in already"),
        (
            status = 400, description = "The query can't be understood", body = Unusable,
            content_type = "application/problem+json",
        ),
        Always,
    )
)]
pub(super) async fn login(
    State(app): State<Arc<App>>,
    Params(query): Params<LogInQuery>,
    context: RequestContext,
) -> Response {
    let recent = |session: &Session| {
        let age = app.now().since(session.auth_time()).as_secs();
        // Zero means that whatever session the log-in page has is refused
        // there.
        query.max_age.is_none_or(|max_age| max_age > 0 && age <= max_age)
    };
    if app.session(&context).is_ok_and(|session| recent(&session)) {
        let target = app.settings.return_target(query.return_to.as_deref());
        return private(Redirect::to(&target).into_response());
    }
    log_in_page(&app, &Form { return_to: query.return_to.as_deref(), ..Form::default() }, None)
}

/// Shows the form again, with the advice about the error above it.
pub(super) fn log_in_again(app: &App, form: &Form<'_>, error: &LogInError) -> Response {
    let mut response = log_in_page(app, form, Some(&error.advice_on_page()));
    *response.status_mut() = error.status();
    if let Some(after) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, after);
    }
    response
}

fn log_in_page(app: &App, form: &Form<'_>, error: Option<&str>) -> Response {
    let settings = &app.settings;
    page(
        settings,
        &LogInPage {
            base_path: &settings.base_path,
            username: form.username,
            return_to: form.return_to.filter(|target| settings.may_return_to(target)),
            error,
            remember: app.service.profiles.remembers().then_some(form.remember),
        },
    )
}

/// The user's sessions
#[utoipa::path(
    get, path = "/account", tag = "pages",
    security((), ("cookie" = [])),
    responses(
        (status = 200, content_type = "text/html", body = String),
        (status = 303, description = "The log-in page"),
        Always,
    )
)]
pub(super) async fn account(State(app): State<Arc<App>>, context: RequestContext) -> ApiResult {
    match app.session(&context) {
        Ok(session) => account_page(&app, &session, None).await,
        Err(_) => Ok(private(Redirect::to(&format!("{}/", app.settings.base_path)).into_response())),
    }
}

async fn account_page(app: &App, session: &Session, error: Option<(StatusCode, &'static str)>) -> ApiResult {
    let sessions = app.sessions_of(session).await?;
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
    Ok(response)
}

#[derive(Deserialize, ToSchema)]
pub(super) struct End {
    session_id: String,
}

/// Ends one of the user's sessions and shows the rest
#[utoipa::path(
    post, path = "/account/end", tag = "pages",
    security(("cookie" = [])),
    request_body(content = End, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "The account page"),
        NoSession, CrossSite, BadBody, Always,
    )
)]
pub(super) async fn end(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Body(form): Body<End>,
) -> ApiResult {
    let session = app.acting(&context)?;
    if let Ok(id) = form.session_id.parse() {
        app.service.end_session(&session, id, &app.client(&context), app.now()).await?;
    }
    // If the session is already gone, the request is fulfilled.
    Ok(private(Redirect::to(&format!("{}/account", app.settings.base_path)).into_response()))
}

#[derive(Deserialize, ToSchema)]
pub(super) struct EndOthers {
    #[schema(value_type = String, format = Password)]
    password: Password,
}

/// Ends all the user's other sessions, after asking for the password again
#[utoipa::path(
    post, path = "/account/end-others", tag = "pages",
    security(("cookie" = [])),
    request_body(content = EndOthers, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "The account page"),
        NoSession, CrossSite, BadBody, TooMany, Always,
    )
)]
pub(super) async fn end_others(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Body(form): Body<EndOthers>,
) -> ApiResult {
    let session = app.acting(&context)?;
    let client = app.client(&context);
    match sessions::end_others(&app, &session, Some(form.password), &client).await {
        Ok(_) => Ok(private(Redirect::to(&format!("{}/account", app.settings.base_path)).into_response())),
        Err(sessions::EndOthers::Failed(LogInError::Refused) | sessions::EndOthers::PasswordNeeded) => {
            let refused = (StatusCode::UNAUTHORIZED, "The password is wrong; nothing was ended.");
            account_page(&app, &session, Some(refused)).await
        }
        Err(sessions::EndOthers::Failed(error)) => Err(error.into()),
    }
}

/// The pages' style sheet
#[utoipa::path(
    get, path = "/style.css", tag = "pages",
    responses((status = 200, content_type = "text/css", body = String), Always)
)]
pub(super) async fn style() -> impl IntoResponse {
    style_sheet().await
}

/// Makes a page, not to be cached: it shows who is logged in.
fn page(settings: &Settings, template: &impl Template) -> Response {
    let Ok(html) = template.render() else {
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made.")
            .into_response();
    };
    let mut response = private(Html(html).into_response());
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, settings.page_policy.clone());
    response
}
