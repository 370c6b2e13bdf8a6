//! The shapes of responses, for the OpenAPI document. Tests compare real
//! responses with them.

#![expect(dead_code, reason = "schemas are never values")]

use serde_json::Value;
use utoipa::{IntoResponses, ToSchema};

/// Problem details (RFC 9457)
#[derive(ToSchema)]
pub(super) struct Problem {
    r#type: String,
    title: String,
    status: u16,
    /// What a person can do.
    detail: String,
}

/// A session
#[derive(ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionBody {
    subject: String,
    /// The log-in, the same in every renewed token.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    session_id: String,
    /// This token.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    token_id: String,
    #[schema(required)]
    audience: Option<String>,
    #[schema(format = DateTime)]
    issued_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    #[schema(format = DateTime)]
    started_at: String,
    #[schema(format = DateTime)]
    ends_at: String,
    /// When credentials were last given.
    #[schema(format = DateTime)]
    auth_time: String,
    /// How the user authenticated (RFC 8176), like `pwd`.
    amr: Vec<String>,
    /// How often it was renewed.
    generation: u64,
    /// The application's own claims.
    #[schema(required)]
    claims: Value,
}

/// A session; its token too, unless that is in the cookie
#[derive(ToSchema)]
pub(super) struct SessionAnswer {
    session: SessionBody,
    /// For so many seconds the session can be renewed with this token, which
    /// may have expired by then.
    renewable_for: u64,
    token: Option<String>,
    /// `DPoP` if the token is bound to a key.
    token_type: Option<String>,
}

/// The session of a request
#[derive(ToSchema)]
pub(super) struct ShownSession {
    session: SessionBody,
}

/// What renewal answers
#[derive(ToSchema)]
pub(super) struct RenewAnswer {
    /// False if the token was not due: it is still the one to use.
    renewed: bool,
    session: SessionBody,
    /// For so many seconds the session can be renewed with this token, which
    /// may have expired by then.
    renewable_for: u64,
    token: Option<String>,
    token_type: Option<String>,
}

/// One of the user's sessions
#[derive(ToSchema)]
pub(super) struct ListedSession {
    #[schema(pattern = "^[0-9a-f]{32}$")]
    session_id: String,
    /// Whether it is the one that asks.
    current: bool,
    #[schema(required)]
    address: Option<String>,
    #[schema(required)]
    user_agent: Option<String>,
    #[schema(format = DateTime)]
    started_at: String,
    #[schema(format = DateTime)]
    last_renewal_at: String,
    #[schema(format = DateTime)]
    ends_at: String,
    /// Whether the log-in asked to be remembered.
    remembered: bool,
}

#[derive(ToSchema)]
pub(super) struct SessionList {
    sessions: Vec<ListedSession>,
}

#[derive(ToSchema)]
pub(super) struct RevokedOthers {
    /// How many sessions were ended.
    revoked: u64,
}

/// What an operator's revocation answers
#[derive(ToSchema)]
pub(super) struct Revocation {
    revoked: String,
    /// How many entries it added: none if all was revoked already.
    added: u64,
    epoch: u64,
    sequence: u64,
}

/// What any route may answer.
#[derive(IntoResponses)]
pub(super) enum Always {
    /// The request took too long.
    #[response(status = 408)]
    Timeout,
    /// Not possible at the moment; `Retry-After` says when to try again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}

/// Refusals of whoever has no session that is good for this.
#[derive(IntoResponses)]
pub(super) enum NoSession {
    /// No session, or none that is accepted. `WWW-Authenticate` says how to
    /// show one; with `error="use_dpop_nonce"`, the proof needs the nonce of
    /// this answer's `DPoP-Nonce`.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] Problem),
}

/// Refusals of requests that change something.
#[derive(IntoResponses)]
pub(super) enum CrossSite {
    /// Made by a page of another site, or more than this session may do.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] Problem),
}

/// Refusals of bodies.
#[derive(IntoResponses)]
pub(super) enum BadBody {
    /// Not JSON, or no form.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(#[to_schema] Problem),
    /// Over 16 KiB.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    /// Neither JSON nor a form.
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(#[to_schema] Problem),
    /// Something in it can't be used.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(#[to_schema] Problem),
}

/// Refusals of whoever asks too often.
#[derive(IntoResponses)]
pub(super) enum TooMany {
    /// `Retry-After` says when to try again.
    #[response(status = 429, content_type = "application/problem+json")]
    TooManyRequests(#[to_schema] Problem),
}
