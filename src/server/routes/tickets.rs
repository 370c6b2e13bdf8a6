//! `POST /tickets`: a single-use token for one audience, valid for seconds.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::error::{ApiError, ApiResult, unprocessable};
use super::respond::no_store;
use super::schema::{Always, BadBody, CrossSite, NoSession, TooMany};
use crate::server::login::tickets::Wanted;
use crate::server::routes::request::RequestContext;
use crate::server::state::App;
use crate::time::UnixTime;

/// A ticket's default lifetime, in seconds.
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
) -> ApiResult {
    let session = app.acting(&context)?;
    if !app.hosts.takes_tickets(&ticket.audience) {
        return Err(unprocessable("This login service makes no tickets for this audience."));
    }
    let wanted = Wanted {
        audience: &ticket.audience,
        path: ticket.path.as_deref(),
        lifetime: Duration::from_secs(ticket.max_age.unwrap_or(DEFAULT_MAX_AGE)),
    };
    let ticket = app.service.ticket(&session, &wanted, &app.client(&context), app.now());
    let ticket = ticket.map_err(ApiError::Ticket)?;
    let expires_at = ticket.session().expires_at();
    Ok(no_store(Json(TicketAnswer { ticket: ticket.as_str().to_owned(), expires_at }).into_response()))
}
