//! `POST /tickets`: a single-use token for one audience, seconds long.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::respond::{no_store, unavailable};
use super::schema::{Always, BadBody, CrossSite, NoSession, TooMany};
use crate::error::ConfigError;
use crate::http::problem::Problem;
use crate::issuer::TicketError;
use crate::server::login::tickets::{IssueError, Wanted};
use crate::server::routes::request::RequestContext;
use crate::server::state::App;
use crate::time::UnixTime;

/// How long a ticket lives unless asked for otherwise, in seconds.
const DEFAULT_MAX_AGE: u64 = 30;

/// What the ticket is to be good for
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ticket {
    /// The edge that is to redeem it.
    #[schema(min_length = 1, max_length = 255)]
    audience: String,
    /// The one path that it is good for; any unless given.
    path: Option<String>,
    /// Its life in seconds, 1 to 300; 30 unless given.
    #[schema(minimum = 1, maximum = 300)]
    max_age: Option<u64>,
}

/// A ticket
#[derive(Serialize, ToSchema)]
pub(super) struct TicketAnswer {
    /// For the query of one request.
    ticket: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: UnixTime,
}

/// A single-use token of this session
#[utoipa::path(
    post, path = "/tickets", tag = "tickets",
    security(("cookie" = []), ("bearer" = []), ("dpop" = [])),
    request_body = Ticket,
    responses((status = 200, body = TicketAnswer), NoSession, CrossSite, BadBody, TooMany, Always)
)]
pub(super) async fn issue(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Body(ticket): Body<Ticket>,
) -> Response {
    let session = match app.acting(&context) {
        Ok(session) => session,
        Err(refusal) => return refusal.into_response(),
    };
    if !app.hosts.takes_tickets(&ticket.audience) {
        return unprocessable("This login service makes no tickets for this audience.");
    }
    let wanted = Wanted {
        audience: &ticket.audience,
        path: ticket.path.as_deref(),
        lifetime: Duration::from_secs(ticket.max_age.unwrap_or(DEFAULT_MAX_AGE)),
    };
    match app.service.ticket(&session, &wanted, &app.client(&context), app.now()) {
        Ok(ticket) => {
            let expires_at = ticket.session().expires_at();
            no_store(Json(TicketAnswer { ticket: ticket.as_str().to_owned(), expires_at }).into_response())
        }
        Err(error) => refused(&error),
    }
}

/// What there is to do about a ticket that could not be made.
pub(super) fn refused(error: &IssueError) -> Response {
    match error {
        IssueError::TooMany(_) => {
            let detail = "There are too many unused tickets. Use them, or wait until they are over.";
            let mut response = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(DEFAULT_MAX_AGE));
            response
        }
        IssueError::Ticket(TicketError::Lifetime) => unprocessable("max_age is 1 to 300 seconds."),
        IssueError::Ticket(TicketError::Path) => {
            unprocessable("The path starts with a slash, has no query and needs no escapes.")
        }
        IssueError::Ticket(TicketError::Audience) => unprocessable("The audience can't be used."),
        IssueError::Ticket(TicketError::SessionEnded { .. }) => Problem::unauthorized().into_response(),
        IssueError::Ticket(TicketError::Config(ConfigError::TokenTooLong { .. })) => {
            unprocessable("The ticket would be too long. Ask for a shorter path.")
        }
        IssueError::Ticket(error) => {
            tracing::error!(%error, "no ticket could be made");
            unavailable("No ticket can be made at the moment. Try again.")
        }
    }
}

fn unprocessable(detail: &'static str) -> Response {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).into_response()
}
