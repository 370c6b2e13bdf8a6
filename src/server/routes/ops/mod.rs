//! `/ops` on the operators' address: one page, updated by server-sent events.
//! Nothing is shown without an operator's session or credential.

mod plot;
mod view;

use core::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::{Form, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit, broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use zeroize::Zeroizing;

use self::view::{Page, Parts, anomaly};
use super::body::Body;
use super::error::{ApiError, ApiResult, failed, unprocessable};
use super::pages::{self, LogInPage};
use super::respond::no_store;
use crate::error::Rejection;
use crate::http::problem::Problem;
use crate::http::{Credential, cookie};
use crate::issuer::store::{SessionRecord, Target};
use crate::server::login::password::Password;
use crate::server::operators::COOKIE;
use crate::server::operators::revoke::Revoke;
use crate::server::routes::request::RequestContext;
use crate::server::state::App;
use crate::session::Session;

/// The page's path.
const BASE: &str = "/ops";
/// Scripts and styles from this origin, and nothing else from anywhere.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'",
);
/// How often the page is updated when nothing happens.
const EVERY: Duration = Duration::from_secs(2);
/// Events within this time are shown together.
const TOGETHER: Duration = Duration::from_millis(250);
/// How many pages are updated at once.
static STREAMS: Semaphore = Semaphore::const_new(16);

/// Returns the routes, for the operators' address only.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/ops", get(page))
        .route("/ops/login", get(log_in_page).post(log_in))
        .route("/ops/logout", post(log_out))
        .route("/ops/end", post(end))
        .route("/ops/events", get(events))
        .route("/ops/style.css", get(pages::style))
        .route("/ops/ops.css", get(style))
        .route("/ops/ops.js", get(script))
}

/// Who may see and use these routes.
enum Operator {
    /// A logged-in user with the operator role.
    Session { session: Box<Session>, token: Zeroizing<String> },
    /// A program with the operators' shared credential.
    Credential,
}

impl Operator {
    async fn of(app: &App, headers: &HeaderMap) -> Option<Self> {
        if app.settings.operator_credential.admits(headers) {
            return Some(Self::Credential);
        }
        let Ok(Some(Credential::Cookie(token))) = Credential::find(headers, COOKIE) else { return None };
        let session = app.operators.session(token, app.now()).await?;
        Some(Self::Session { session: Box::new(session), token: Zeroizing::new(token.to_owned()) })
    }

    fn name(&self) -> &str {
        match self {
            Self::Session { session, .. } => session.subject(),
            Self::Credential => "operator credential",
        }
    }

    /// Returns whether the operator still is one.
    async fn is_one_still(&self, app: &App) -> bool {
        match self {
            Self::Session { token, .. } => app.operators.session(token, app.now()).await.is_some(),
            Self::Credential => true,
        }
    }
}

#[derive(Deserialize)]
struct Find {
    find: Option<String>,
    /// The action just performed.
    done: Option<String>,
}

async fn page(State(app): State<Arc<App>>, Query(query): Query<Find>, context: RequestContext) -> ApiResult {
    let Some(operator) = Operator::of(&app, &context.headers).await else { return Ok(to_log_in()) };
    let find = query.find.as_deref().map(str::trim).filter(|find| !find.is_empty());
    let found = match find {
        Some(find) => app.operators.find(find, app.now()).await,
        None => Ok(Vec::new()),
    };
    let found: Vec<SessionRecord> = found.map_err(failed("The store does not answer."))?;
    let message = match query.done.as_deref() {
        Some("session") => Some("The session is ended."),
        Some("subject") => Some("All sessions of the user are ended."),
        _ => None,
    };
    let parts = Parts::now(&app).await;
    let page =
        Page { base_path: BASE, operator: operator.name(), find, found: &found, message, parts: &parts };
    Ok(html(&page))
}

fn html(template: &impl Template) -> Response {
    let Ok(html) = template.render() else {
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made.")
            .into_response();
    };
    let mut response = no_store(Html(html).into_response());
    let headers = response.headers_mut();
    cookie::vary_on_cookie(headers);
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

fn to_log_in() -> Response {
    no_store(Redirect::to("/ops/login").into_response())
}

async fn log_in_page(State(app): State<Arc<App>>, context: RequestContext) -> Response {
    if Operator::of(&app, &context.headers).await.is_some() {
        return no_store(Redirect::to(BASE).into_response());
    }
    html(&LogInPage { base_path: BASE, username: "", return_to: None, error: None, remember: None })
}

#[derive(Deserialize)]
struct LogIn {
    username: String,
    password: Password,
}

async fn log_in(State(app): State<Arc<App>>, context: RequestContext, Body(form): Body<LogIn>) -> ApiResult {
    if context.is_cross_site() {
        return Err(ApiError::CrossSite);
    }
    let client = app.client(&context);
    match app.operators.log_in(&form.username, form.password, &client, app.now()).await {
        Ok(token) => {
            let mut response = Redirect::to(BASE).into_response();
            let max_age = token.session().expires_at().since(app.now());
            cookie::set_strict(response.headers_mut(), COOKIE, token.as_str(), max_age);
            Ok(response)
        }
        Err(error) => {
            let page = LogInPage {
                base_path: BASE,
                username: &form.username,
                return_to: None,
                error: Some(error.advice()),
                remember: None,
            };
            let mut response = html(&page);
            let plain = ApiError::LogIn(error).into_response();
            *response.status_mut() = plain.status();
            if let Some(wait) = plain.headers().get(header::RETRY_AFTER) {
                response.headers_mut().insert(header::RETRY_AFTER, wait.clone());
            }
            Ok(response)
        }
    }
}

async fn log_out(State(app): State<Arc<App>>, context: RequestContext) -> ApiResult {
    if context.is_cross_site() {
        return Err(ApiError::CrossSite);
    }
    let credential = Credential::find(&context.headers, COOKIE).map_err(|_| {
        let detail = "There are two tokens in this request. Clear this site's cookies.";
        ApiError::Problem(StatusCode::BAD_REQUEST, detail)
    })?;
    if let Some(Credential::Cookie(token)) = credential {
        match app.operators.genuine(token, app.now()) {
            Ok(token) => {
                let ended = app.service.log_out(&token, &app.client(&context), app.now()).await;
                ended.map_err(failed("Log-out could not be recorded. Try again."))?;
            }
            Err(Rejection::UnknownKey { .. }) => {
                return Err(ApiError::Unavailable("This service does not know the token's key. Try again."));
            }
            // No operator's session is behind any other refused token.
            Err(_) => {}
        }
    }
    let mut response = to_log_in();
    cookie::clear_strict(response.headers_mut(), COOKIE);
    response.headers_mut().insert("clear-site-data", HeaderValue::from_static("\"cache\""));
    Ok(response)
}

#[derive(Deserialize)]
struct End {
    session_id: Option<String>,
    subject: Option<String>,
    /// The search text, to show it again.
    find: Option<String>,
}

async fn end(State(app): State<Arc<App>>, context: RequestContext, Form(form): Form<End>) -> ApiResult {
    let operator = Operator::of(&app, &context.headers).await.ok_or(ApiError::NoToken)?;
    if matches!(operator, Operator::Session { .. }) && context.is_cross_site() {
        return Err(ApiError::CrossSite);
    }
    let (what, done) = match (form.session_id, form.subject) {
        (Some(id), None) => (Revoke::Session(id), "session"),
        (None, Some(subject)) => (Revoke::Subject(subject), "subject"),
        _ => return Err(UNCLEAR),
    };
    let target = what.target().map_err(|_| UNCLEAR)?;
    let (now, client) = (app.now(), app.client(&context));
    let mut event = what.event(Some(client.address()));
    event.detail = Some(serde_json::json!({ "revoked": done, "operator": operator.name() }));
    if let Target::Session { id, .. } = &target {
        event.session = Some(id.short_hash());
    }
    let revoked = app.service.revoke(target, Some(event), Some(client.address()), now).await;
    revoked.map_err(failed("The revocation could not be recorded. Try again."))?;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("done", done);
    if let Some(find) = &form.find {
        query.append_pair("find", find);
    }
    Ok(no_store(Redirect::to(&format!("/ops?{}#find", query.finish())).into_response()))
}

const UNCLEAR: ApiError = unprocessable("Say which session or which user: session_id or subject.");

async fn events(State(app): State<Arc<App>>, context: RequestContext) -> ApiResult {
    let operator = Operator::of(&app, &context.headers).await.ok_or(ApiError::NoToken)?;
    let Ok(permit) = STREAMS.try_acquire() else {
        return Err(ApiError::Unavailable("There are too many of these pages open."));
    };
    let events = Sse::new(stream(app, operator, permit)).keep_alive(KeepAlive::default());
    Ok(no_store(events.into_response()))
}

/// Sends the events of a page. `status`: the changed pieces of the page by id,
/// in JSON. `anomaly`: one more line, in JSON. `over`: the user is no operator
/// any more.
fn stream(
    app: Arc<App>,
    operator: Operator,
    permit: SemaphorePermit<'static>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    // Bounded: a page that doesn't read makes this wait, not buffer.
    let (send, events) = mpsc::channel(4);
    tokio::spawn(async move {
        let _one_of_so_many = permit;
        let (_, mut anomalies) = app.events.activity.anomalies();
        let mut news = app.events.activity.watch();
        let mut shown = Parts::default();
        loop {
            if !operator.is_one_still(&app).await {
                let _ = send.send(Ok(Event::default().event("over").data("log in again"))).await;
                return;
            }
            news.mark_unchanged();
            let parts = Parts::now(&app).await;
            let mut changed = parts.changed_since(&shown);
            // Later anomalies come one by one; the first ones come with the
            // status.
            if !shown.0.is_empty() {
                changed.remove("anomalies");
            }
            if !changed.is_empty() {
                let data = serde_json::to_string(&changed).unwrap_or_default();
                if send.send(Ok(Event::default().event("status").data(data))).await.is_err() {
                    return;
                }
            }
            shown = parts;
            let until = tokio::time::Instant::now() + EVERY;
            loop {
                tokio::select! {
                    () = send.closed() => return,
                    noted = anomalies.recv() => match noted {
                        Ok(noted) => {
                            let line = serde_json::Value::from(anomaly(&noted)).to_string();
                            if send.send(Ok(Event::default().event("anomaly").data(line))).await.is_err() {
                                return;
                            }
                        }
                        Err(broadcast::error::RecvError::Lagged(_)) => {
                            // The whole list includes them.
                            shown = Parts::default();
                            break;
                        }
                        Err(broadcast::error::RecvError::Closed) => return,
                    },
                    _ = news.changed() => {
                        tokio::time::sleep(TOGETHER).await;
                        break;
                    }
                    () = tokio::time::sleep_until(until) => break,
                }
            }
        }
    });
    ReceiverStream::new(events)
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../../templates/ops.css"))
}

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../../templates/ops.js"))
}
