//! `GET /openapi.json`: what there is, for programs that call it and for those
//! that are generated. Made from the handlers' annotations; the schemas of what
//! is answered are below, and tests hold them to real answers.

#![expect(dead_code, reason = "schemas are never values")]

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::Value;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::server::Server;
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

use super::{admin, edges, hop, keys, login, pages, revocations, sessions, tickets};
use crate::http::SESSION_COOKIE;
use crate::server::state::App;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "hallpass",
        description = "The login service: sessions started, renewed and ended. \
                       Ids are lowercase hex, times RFC 3339 in UTC, durations seconds.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    paths(
        pages::login, pages::account, pages::style, pages::end, pages::end_others,
        login::log_in, login::renew, login::reauthenticate, login::log_out,
        sessions::show, sessions::list, sessions::start, sessions::end, sessions::revoke_others,
        tickets::issue, hop::redeem, hop::hop,
        revocations::feed, keys::feed, keys::cose, keys::jwks,
        edges::report, show, super::healthy, super::ready, admin::revoke, admin::metrics,
    ),
    components(schemas(SessionAnswer, Problem)),
    modifiers(&Credentials),
    tags(
        (name = "sessions", description = "For whoever has a session or wants one"),
        (name = "tickets", description = "Single-use tokens, and the hop to another host"),
        (name = "edges", description = "Keys and revocations, for services that verify tokens"),
        (name = "pages", description = "For people in browsers"),
        (name = "operation", description = "For whoever runs it"),
    )
)]
struct Api;

/// The document, for a service whose paths start at `base_path`.
pub(crate) fn document(base_path: &str) -> utoipa::openapi::OpenApi {
    let mut api = Api::openapi();
    let server = if base_path.is_empty() { "/" } else { base_path };
    api.servers = Some(vec![Server::new(server)]);
    api
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", body = Value))
)]
pub(super) async fn show(State(app): State<Arc<App>>) -> Response {
    match document(&app.settings.base_path).to_json() {
        Ok(json) => ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "public, max-age=3600")], json)
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "no OpenAPI document");
            login::unavailable("The document can't be made.")
        }
    }
}

/// How a request says whose it is.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let http = |scheme: HttpAuthScheme, description: &str| {
            let mut http = Http::new(scheme);
            http.description = Some(description.to_owned());
            SecurityScheme::Http(http)
        };
        let components = api.components.get_or_insert_default();
        let cookie = ApiKeyValue::with_description(
            SESSION_COOKIE,
            "A browser's. Requests that change something must come from a page of the same origin.",
        );
        for (name, scheme) in [
            ("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie))),
            ("bearer", http(HttpAuthScheme::Bearer, "An API client's token.")),
            (
                "dpop",
                // OpenAPI has no word for this scheme.
                SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                    "Authorization",
                    "\"DPoP \" and a token that is bound to a key, with a proof of the key in the \
                     header DPoP (RFC 9449).",
                ))),
            ),
            ("service", http(HttpAuthScheme::Bearer, "HALLPASS_SERVICE_TOKEN.")),
            ("edge", http(HttpAuthScheme::Bearer, "HALLPASS_EDGE_TOKEN.")),
            ("operator", http(HttpAuthScheme::Bearer, "HALLPASS_OPERATOR_TOKEN.")),
        ] {
            components.add_security_scheme(name, scheme);
        }
    }
}

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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::document;

    /// Regenerate with `HALLPASS_REGENERATE=1 cargo test --all-features --lib openapi`.
    #[test]
    fn the_committed_document_is_the_one_that_is_served() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let made = document("").to_pretty_json().unwrap() + "\n";
        if std::env::var_os("HALLPASS_REGENERATE").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == made, "docs/openapi.json is old; HALLPASS_REGENERATE=1 writes it anew");
    }
}
