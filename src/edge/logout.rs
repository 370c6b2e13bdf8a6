//! `POST {base}/logout` on a host that is not the issuer's.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use super::issuer::IssuerError;
use super::state::Edge;
use crate::error::Rejection;
use crate::http::navigation::is_navigation;
use crate::http::problem::Problem;
use crate::http::{Credential, csrf};
use crate::session::Session;

/// Ends the session at the issuer, with its parent and all the parent's
/// children, and deletes the browser's cookie.
pub(super) async fn log_out(
    State(edge): State<Arc<Edge>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let Some(hop) = &edge.hop else {
        return Problem::new(StatusCode::NOT_FOUND, "Log out at the issuer.").into_response();
    };
    let host = hop.origin.as_str().parse::<Uri>().unwrap_or_default();
    if csrf::check(&headers, &host).is_err() {
        return Problem::cross_site().into_response();
    }
    let credential = match Credential::find(&headers, edge.cookie.name()) {
        Ok(credential) => credential,
        Err(error) => {
            tracing::info!(%error, "log-out refused");
            let detail = "There are two tokens in this request. Send one, or clear this site's cookies.";
            return Problem::new(StatusCode::BAD_REQUEST, detail).into_response();
        }
    };
    if let Some(credential) = credential
        && may_live(&edge, credential.token())
        && let Err(why) =
            edge.issuer.log_out(credential.token(), edge.trusted_proxies.client(peer.ip(), &headers)).await
    {
        if matches!(why, IssuerError::Refused(StatusCode::UNAUTHORIZED)) {
            return Problem::unauthorized().into_response();
        }
        // Don't report success while a copy of the token may still work.
        tracing::error!(%why, "log-out could not be recorded");
        return unavailable("Log-out could not be recorded. Try again.");
    }
    // A form's answer is a page too.
    let mut response = if is_navigation(&Method::GET, &headers) {
        Redirect::to("/").into_response()
    } else {
        StatusCode::NO_CONTENT.into_response()
    };
    let headers = response.headers_mut();
    edge.cookie.clear(headers);
    headers.insert("clear-site-data", HeaderValue::from_static("\"cache\", \"storage\""));
    response
}

/// Returns whether the issuer could know a live session behind the token. This
/// edge's keys, time and revocations may be out of date. So it rules out only
/// malformed tokens and bad signatures.
fn may_live(edge: &Edge, token: &str) -> bool {
    let verdict: Result<Session, Rejection> = edge.verifier.verify(token, edge.now());
    !matches!(
        verdict,
        Err(Rejection::Malformed { .. } | Rejection::WrongType { .. } | Rejection::BadSignature { .. })
    )
}

fn unavailable(detail: &'static str) -> Response {
    let mut response = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}
