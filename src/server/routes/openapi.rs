//! `GET /openapi.json`: the routes, for people and for code generators. It is
//! generated from the handlers' annotations.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::server::Server;
use utoipa::{Modify, OpenApi};

use super::error::{ApiResult, failed};
use super::schema::{Problem, SessionAnswer};
use super::{admin, edges, health, hop, keys, login, pages, revocations, sessions, tickets};
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
        edges::report, show, health::healthy, health::ready, admin::revoke, admin::metrics,
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

/// Returns the document, for a service whose paths start at `base_path`.
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
pub(super) async fn show(State(app): State<Arc<App>>) -> ApiResult<impl IntoResponse> {
    // Made once: it takes a millisecond, and strangers may ask for it.
    let json = if let Some(made) = app.settings.openapi.get() {
        made.clone()
    } else {
        let made = document(&app.settings.base_path).to_json();
        let made = made.map_err(failed("The document can't be made."))?;
        app.settings.openapi.get_or_init(|| made.into()).clone()
    };
    Ok(([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "public, max-age=3600")], json))
}

/// How a request carries its credential.
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
                // OpenAPI can't express this scheme.
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
