//! `GET /hop` and `POST /tickets/redeem`: from this host to another.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::body::{Body, Params};
use super::error::{ApiError, ApiResult};
use super::respond::private;
use super::respond::{Transport, answer};
use super::schema::{Always, BadBody, NoSession, Problem as Problem_, SessionAnswer, TooMany};
use crate::event::{Event, EventKind, EventSink};
use crate::server::login::tickets::HopError;
use crate::server::routes::request::RequestContext;
use crate::server::state::App;

/// Longest state, in characters.
const MAX_STATE: usize = 256;

#[derive(Deserialize)]
pub(super) struct Hop {
    /// The host, as an origin.
    origin: String,
    /// What the edge will compare with its cookie.
    state: String,
}

/// Takes the user's session to another host; whoever has none logs in first
#[utoipa::path(
    get, path = "/hop", tag = "tickets",
    security((), ("cookie" = [])),
    params(
        ("origin" = String, Query, description = "The host, as an origin"),
        ("state" = String, Query, max_length = 256, pattern = "^[A-Za-z0-9._~-]+$",
            description = "What the edge will compare with its cookie"),
    ),
    responses(
        (status = 303, description = "To the host with a ticket, or to the log-in page"),
        (
            status = 400, description = "An unknown host, or a state that can't be used",
            body = Problem_, content_type = "application/problem+json",
        ),
        NoSession, TooMany, Always,
    )
)]
pub(super) async fn hop(
    State(app): State<Arc<App>>,
    Params(hop): Params<Hop>,
    context: RequestContext,
) -> ApiResult {
    let Some(host) = app.hosts.at(&hop.origin) else {
        let detail = "This login service does not know the host that you came from.";
        return Err(ApiError::Problem(StatusCode::BAD_REQUEST, detail));
    };
    if !is_state(&hop.state) {
        let detail = "The state can't be used. Start again at the host.";
        return Err(ApiError::Problem(StatusCode::BAD_REQUEST, detail));
    }
    let base = &app.settings.base_path;
    let Ok(session) = app.session(&context) else {
        let origin: String = url::form_urlencoded::byte_serialize(hop.origin.as_bytes()).collect();
        let back = format!("{base}/hop?origin={origin}&state={}", hop.state);
        let back: String = url::form_urlencoded::byte_serialize(back.as_bytes()).collect();
        return Ok(private(Redirect::to(&format!("{base}/?return_to={back}")).into_response()));
    };
    // An error is not sent back to where the browser came from: that would send
    // it here again.
    let ticket =
        app.service.hop(&session, host, &app.client(&context), app.now()).map_err(ApiError::Ticket)?;
    let (origin, callback) = (&host.origin, host.callback());
    let to = format!("{origin}{callback}?ticket={}&state={}", ticket.as_str(), hop.state);
    Ok(private(Redirect::to(&to).into_response()))
}

/// Returns whether the state needs no escaping in a URI (RFC 3986 §2.3).
fn is_state(state: &str) -> bool {
    (1..=MAX_STATE).contains(&state.len())
        && state.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Redeem {
    ticket: String,
    /// The audience of the edge that asks.
    audience: String,
}

/// A child session for the edge that the browser brought a ticket to
#[utoipa::path(
    post, path = "/tickets/redeem", tag = "tickets",
    request_body = Redeem,
    responses((status = 200, body = SessionAnswer), NoSession, BadBody, Always)
)]
pub(super) async fn redeem(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Body(redeem): Body<Redeem>,
) -> ApiResult {
    let Some(host) = app.hosts.of(&redeem.audience) else { return Err(REFUSED) };
    let now = app.now();
    match app.service.land(&redeem.ticket, host, &app.client(&context), now).await {
        Ok(token) => Ok(answer(&app, &token, Transport::Bearer, json!({}))),
        Err(HopError::Refused(rejection)) => {
            let event = Event::new(EventKind::TokenRefused(rejection.reason()), now);
            app.events.record(event.from(app.client_address(&context)));
            Err(REFUSED)
        }
        Err(HopError::Start(error)) => Err(error.into()),
    }
}

/// The same answer for every invalid ticket.
const REFUSED: ApiError = ApiError::Problem(
    StatusCode::UNAUTHORIZED,
    "This ticket opens nothing here, or not any more. Start again at the host.",
);
