//! `GET /ended`: tells a service when the session of a token is over, so that it
//! can close what it keeps open for that session. The token may have expired by
//! then: its session goes on while it is renewed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::state::Edge;
use crate::error::Rejection;
use crate::http::Credential;
use crate::http::problem::Problem;
use crate::service::permits::{Full, Permit};
use crate::session::Ended;

/// Longest long poll, in seconds: less than the time limit of a request.
const LONGEST_WAIT: u64 = 25;
/// Longest life of an event stream. The client connects again.
const STREAM_LIFE: Duration = Duration::from_hours(1);
/// Between two comments in an event stream, which show that it is alive.
const ALIVE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
pub(super) struct Wait {
    /// How long to wait for the end, in seconds.
    #[serde(default)]
    wait: u64,
}

pub(super) async fn ended(
    State(edge): State<Arc<Edge>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    query: Result<Query<Wait>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let mut response = answer(&edge, peer, query.ok().map(|query| query.0), &headers).await;
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn answer(edge: &Edge, peer: SocketAddr, query: Option<Wait>, headers: &HeaderMap) -> Response {
    let Some(Wait { wait }) = query.filter(|query| query.wait <= LONGEST_WAIT) else {
        return Problem::new(StatusCode::BAD_REQUEST, "wait is a number of seconds, at most 25.")
            .into_response();
    };
    // Never by cookie: a browser's pages have no business here.
    let Ok(Some(Credential::Bearer(token))) = Credential::find(headers, edge.cookie.name()) else {
        return Problem::unauthorized().into_response();
    };
    let session = match edge.verifier.verify_session(token, edge.now()) {
        Ok(session) => session,
        Err(rejection) => {
            let Some(why) = reason(&rejection) else {
                tracing::info!(reason = %rejection.reason(), address = %peer.ip(), "token refused");
                return Problem::unauthorized().into_response();
            };
            return over(why);
        }
    };
    let events = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/event-stream"));
    if !events && wait == 0 {
        return StatusCode::NO_CONTENT.into_response();
    }
    let permit = match edge.wait(peer) {
        Ok(permit) => permit,
        Err(full) => return too_many(full),
    };
    let end = session.over();
    if events {
        let event = async move {
            let _permit = permit;
            let why = timeout(STREAM_LIFE, end).await.ok()?;
            let data = json!({ "ended": why.as_str() }).to_string();
            Some(Ok::<_, Infallible>(Event::default().event("ended").data(data)))
        };
        let stream = stream::once(event).filter_map(std::future::ready);
        return Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE)).into_response();
    }
    let ended = timeout(Duration::from_secs(wait), end).await;
    drop(permit);
    ended.map_or_else(|_| StatusCode::NO_CONTENT.into_response(), over)
}

impl Edge {
    /// Takes a permit for a request that waits. A trusted proxy's address
    /// stands for many services.
    fn wait(&self, peer: SocketAddr) -> Result<Permit, Full> {
        let address = (!self.trusted_proxies.contains(peer.ip())).then_some(peer.ip());
        self.waiting.enter(address)
    }
}

fn over(why: Ended) -> Response {
    Json(json!({ "ended": why.as_str() })).into_response()
}

/// Returns how a refused token's session has ended; `None` if the token is not
/// one of ours.
fn reason(rejection: &Rejection) -> Option<Ended> {
    match rejection {
        Rejection::SessionEnded { .. } => Some(Ended::Expired),
        Rejection::Revoked { .. } => Some(Ended::Revoked),
        Rejection::RevocationsStale { .. } => Some(Ended::Stale),
        _ => None,
    }
}

fn too_many(full: Full) -> Response {
    tracing::info!(%full, "a request may not wait for the end of a session");
    let status = match full {
        Full::All => StatusCode::SERVICE_UNAVAILABLE,
        Full::Address => StatusCode::TOO_MANY_REQUESTS,
    };
    let problem = Problem::new(status, "Too many requests wait here. Ask later, or without wait.");
    let mut response = problem.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}
