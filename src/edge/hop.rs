//! Log-in on a host that is not the issuer's. The browser goes to the issuer's
//! page and comes back with a ticket for a session of this host's own.
//!
//! The state cookie ties the callback to the browser that started the log-in.
//! Without it, another site could log its visitor in with a ticket of its own
//! (log-in CSRF). Every failure ends in a page, never in another redirect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rand::TryRng;
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::issuer::{IssuerError, Redeemed};
use super::pages::Page;
use super::state::{CrossHost, Edge};
use crate::http::problem::Problem;
use crate::http::{cookie, credential};
use crate::id::hex;
use crate::renew::renewable_until;

const STATE_COOKIE: &str = "__Host-hallpass-state";
/// How long a log-in may take.
const STATE_AGE: time::Duration = time::Duration::minutes(15);
/// Longest ticket or state that is accepted, in characters.
const MAX_LENGTH: usize = 4096;

#[derive(Deserialize)]
pub(super) struct Start {
    return_to: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Callback {
    ticket: String,
    state: String,
}

/// Redirects the browser to the issuer.
pub(super) async fn start(State(edge): State<Arc<Edge>>, Query(query): Query<Start>) -> Response {
    let Some(hop) = &edge.hop else { return not_here() };
    let Some(state) = random_state() else {
        tracing::error!("the system gives no randomness");
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Log-in is not possible at the moment.")
            .into_response();
    };
    let return_to = edge.return_targets.or(query.return_to.as_deref(), "/");
    let value = format!("{state}.{}", URL_SAFE_NO_PAD.encode(return_to));
    let origin: String = url::form_urlencoded::byte_serialize(hop.origin.as_str().as_bytes()).collect();
    let target = format!("{}/hop?origin={origin}&state={state}", hop.public_issuer);
    edge.metrics.count_hop("started");
    with_state(private(Redirect::to(&target)), &value, STATE_AGE)
}

/// Handles the browser's return from the issuer.
pub(super) async fn callback(
    State(edge): State<Arc<Edge>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(query): Query<Callback>,
    headers: HeaderMap,
) -> Response {
    let Some(hop) = &edge.hop else { return not_here() };
    let response = match arrive(&edge, hop, &query, peer, &headers).await {
        Ok(response) => {
            edge.metrics.count_hop("completed");
            response
        }
        Err(refused) => {
            edge.metrics.count_hop(refused.outcome);
            tracing::info!(outcome = refused.outcome, "log-in by a hop refused");
            let page = Page {
                base_path: &edge.base_path,
                title: "Log-in did not work",
                message: refused.message,
                link: "/",
                link_text: "Go to the start page",
                at_once: false,
            };
            page.answer(refused.status)
        }
    };
    with_state(response, "", time::Duration::ZERO)
}

struct Refused {
    outcome: &'static str,
    status: StatusCode,
    message: &'static str,
}

async fn arrive(
    edge: &Edge,
    hop: &CrossHost,
    query: &Callback,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Result<Response, Refused> {
    let wrong_state = Refused {
        outcome: "wrong_state",
        status: StatusCode::FORBIDDEN,
        message: "This log-in was not begun in this browser, or too long ago, or in two windows at once.",
    };
    let Some((state, return_to)) = kept(headers) else { return Err(wrong_state) };
    if query.ticket.len() > MAX_LENGTH || !bool::from(state.as_bytes().ct_eq(query.state.as_bytes())) {
        return Err(wrong_state);
    }
    // The client controls the cookie, so its target is checked like a
    // parameter.
    let return_to = edge.return_targets.or(Some(&return_to), "/").to_owned();
    let client = edge.trusted_proxies.client(peer.ip(), headers);
    let Redeemed { token, renewable_for } =
        edge.issuer.redeem(&query.ticket, &hop.audience, client).await.map_err(|why| {
            let refused = matches!(why, IssuerError::Refused(status) if status.is_client_error());
            if !refused {
                tracing::error!(%why, "a ticket could not be redeemed");
            }
            if refused {
                Refused {
                    outcome: "ticket_refused",
                    status: StatusCode::FORBIDDEN,
                    message: "The log-in took too long on its way back, or this address was opened twice.",
                }
            } else {
                Refused {
                    outcome: "issuer_unavailable",
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    message: "The login service does not answer. Try again in a moment.",
                }
            }
        })?;
    let now = edge.now();
    // A cookie that this edge itself refuses would cause a redirect loop.
    let session: crate::session::Session = edge.verifier.verify(&token, now).map_err(|rejection| {
        tracing::error!(%rejection, "the issuer's own token is refused here");
        Refused {
            outcome: "token_refused",
            status: StatusCode::BAD_GATEWAY,
            message: "The login service and this one do not agree. Tell whoever runs them to look at the log.",
        }
    })?;
    let mut response = private(Redirect::to(&return_to));
    let until = renewable_until(&session, Duration::from_secs(renewable_for), now);
    edge.cookie.set(response.headers_mut(), &token, until.since(now));
    Ok(response)
}

/// Returns the state and target from the browser's cookie.
fn kept(headers: &HeaderMap) -> Option<(String, String)> {
    // If there are two, one was planted.
    let value = credential::cookie(headers, STATE_COOKIE).ok()??;
    let (state, target) = value.split_once('.')?;
    if state.is_empty() || target.len() > MAX_LENGTH {
        return None;
    }
    let target = String::from_utf8(URL_SAFE_NO_PAD.decode(target).ok()?).ok()?;
    Some((state.to_owned(), target))
}

fn random_state() -> Option<String> {
    let mut bytes = [0; 16];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).ok()?;
    Some(hex(&bytes))
}

fn with_state(mut response: Response, value: &str, age: time::Duration) -> Response {
    let state = ::cookie::Cookie::build((STATE_COOKIE, value))
        .path("/")
        .secure(true)
        .http_only(true)
        // The browser comes back by a redirect from another site.
        .same_site(::cookie::SameSite::Lax)
        .max_age(age)
        .build();
    if let Ok(state) = HeaderValue::try_from(state.to_string()) {
        response.headers_mut().append(header::SET_COOKIE, state);
    }
    response
}

/// Makes a redirect private: it is not cached, and its URL is not sent as a
/// referrer.
fn private(redirect: Redirect) -> Response {
    let mut response = redirect.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    cookie::vary_on_cookie(headers);
    response
}

fn not_here() -> Response {
    Problem::new(
        StatusCode::NOT_FOUND,
        "This edge is on the issuer's own host: log in there. (With --public-origin it is not.)",
    )
    .into_response()
}
