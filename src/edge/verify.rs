//! `GET /verify`: decides whether a request may pass and who makes it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::identity;
use super::pages::Page;
use super::state::Edge;
use super::verdict::{LogIn, Verdict};
use crate::error::{Reason, Rejection};
use crate::event::{Event, EventKind, EventSink};
use crate::http::forwarded::{Original, Unclear};
use crate::http::navigation::is_navigation;
use crate::http::problem::{self, Problem};
use crate::http::{Credential, cookie, csrf};
use crate::renew::{Renewed, Successor};
use crate::session::Session;
use crate::time::UnixTime;

/// Where the proxy sends a browser to log in. Not `Location`: some proxies drop
/// it from a 401, and others rewrite it.
static LOG_IN: HeaderName = HeaderName::from_static("x-hallpass-login");

/// The path that proxies ask. Not a query: some proxies add the client's own.
pub(super) const VERIFY: &str = "/verify";
/// The same for pages that are public too. Nothing that a proxy appends to the
/// other path leads here.
pub(super) const VERIFY_OPTIONAL: &str = "/optional";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Demand {
    Required,
    Optional,
}

/// A request that is refused, or passed only as anonymous.
struct RefusedRequest {
    verdict: Verdict,
    original: Option<Original>,
}

impl From<Verdict> for RefusedRequest {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, original: None }
    }
}

/// A request that is let through.
struct Passed {
    session: Session,
    token: String,
    /// How long the cookie is to live, if the token is a new one.
    renewable_until: Option<UnixTime>,
}

impl Passed {
    fn renewed(next: &Renewed) -> Self {
        Self {
            session: next.session().clone(),
            token: next.as_str().to_owned(),
            renewable_until: Some(next.renewable_until()),
        }
    }
}

pub(super) async fn required(
    State(edge): State<Arc<Edge>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    answer(&edge, peer, &request.into_parts().0, Demand::Required).await
}

pub(super) async fn optional(
    State(edge): State<Arc<Edge>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    answer(&edge, peer, &request.into_parts().0, Demand::Optional).await
}

async fn answer(edge: &Edge, peer: SocketAddr, request: &http::request::Parts, demand: Demand) -> Response {
    let started = Instant::now();
    let judged = judge(edge, peer, request).await;
    let verdict = match &judged {
        Ok(_) => Verdict::Accepted,
        Err(refusal) if demand == Demand::Optional && !refusal.verdict.is_forbidden() => Verdict::Anonymous,
        Err(refusal) => refusal.verdict,
    };
    let mut response = match judged {
        Ok(passed) => pass(edge, &passed),
        Err(_) if verdict == Verdict::Anonymous => {
            let mut response = StatusCode::OK.into_response();
            identity::write(response.headers_mut(), None);
            response
        }
        Err(refusal) => refuse(edge, &refusal, &request.headers),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    cookie::vary_on_cookie(headers);
    edge.metrics.count(verdict, started.elapsed());
    response
}

/// Reads the request as its proxy describes it, if the proxy is trusted.
fn original(edge: &Edge, peer: SocketAddr, request: &http::request::Parts) -> Result<Original, Verdict> {
    if !edge.trusted_proxies.contains(peer.ip()) {
        tracing::warn!(
            address = %peer.ip(),
            "asked by what is no trusted proxy; name it with --trusted-proxy if it is one"
        );
        return Err(Verdict::UntrustedProxy);
    }
    let path = request.uri.path();
    let prefix = if path.starts_with(VERIFY_OPTIONAL) { VERIFY_OPTIONAL } else { VERIFY };
    let read = if path == prefix {
        Original::from_headers(&request.headers)
    } else {
        let target = request.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        Original::from_request(&request.method, target.strip_prefix(prefix).unwrap_or("/"), &request.headers)
    };
    read.map_err(|why: Unclear| {
        tracing::warn!(address = %peer.ip(), %why, "the proxy's request can't be read");
        Verdict::UnclearRequest
    })
}

async fn judge(
    edge: &Edge,
    peer: SocketAddr,
    request: &http::request::Parts,
) -> Result<Passed, RefusedRequest> {
    let original = original(edge, peer, request)?;
    let headers = &request.headers;
    let refused = |verdict, original| RefusedRequest { verdict, original: Some(original) };
    let credential = match Credential::find(headers, edge.cookie.name()) {
        Ok(Some(credential)) => credential,
        Ok(None) => return Err(refused(Verdict::NoToken, original)),
        Err(_) => return Err(refused(Verdict::TwoTokens, original)),
    };
    if matches!(credential, Credential::Cookie(_))
        && (csrf::is_unsafe(&original.method) || csrf::opens_web_socket(headers))
        && edge.origins.check(headers, &original.authority()).is_err()
    {
        return Err(refused(Verdict::CrossSite, original));
    }
    let (client, now) = (edge.trusted_proxies.client(peer.ip(), headers), edge.now());
    let refuse = |reason: Reason, original| {
        tracing::info!(event = "token_refused", %reason, address = %client, "token refused");
        edge.watch.record(Event::new(EventKind::TokenRefused(reason), now).from(client));
        refused(Verdict::Refused(reason), original)
    };
    match edge.verifier.verify(credential.token(), now) {
        Ok(session) => {
            edge.watch.used(session.id(), client, now);
            Ok(edge.with_renewal(session, credential, client).await)
        }
        Err(Rejection::Expired { .. }) if matches!(credential, Credential::Cookie(_)) => {
            match edge.renewal.renew_expired(credential.token(), Some(client)).await {
                Ok(Successor::Renewed(next)) => {
                    edge.watch.used(next.session().id(), client, now);
                    Ok(Passed::renewed(&next))
                }
                Ok(Successor::Refused) => Err(refuse(Reason::Expired, original)),
                Ok(_) => Err(refused(Verdict::NotRenewed, original)),
                Err(rejection) => Err(refuse(rejection.reason(), original)),
            }
        }
        Err(rejection) => Err(refuse(rejection.reason(), original)),
    }
}

fn pass(edge: &Edge, passed: &Passed) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    identity::write(headers, Some((&passed.session, &passed.token)));
    if let Some(until) = passed.renewable_until {
        edge.cookie.set(headers, &passed.token, until.since(edge.now()));
    }
    response
}

/// Asks the client to come again. The session is not over, so a log-in page
/// would be wrong.
fn not_renewed(edge: &Edge, refusal: &RefusedRequest, headers: &HeaderMap) -> Response {
    let page = refusal.original.as_ref().filter(|original| is_navigation(&original.method, headers));
    let mut response = match page {
        Some(original) => Page {
            base_path: &edge.base_path,
            title: "One moment",
            message: problem::NOT_RENEWED,
            link: original.return_to(),
            link_text: "Try again",
            at_once: false,
        }
        .answer(StatusCode::SERVICE_UNAVAILABLE),
        None => Problem::not_renewed().into_response(),
    };
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(problem::RETRY_AFTER));
    response
}

fn refuse(edge: &Edge, refusal: &RefusedRequest, headers: &HeaderMap) -> Response {
    match refusal.verdict {
        Verdict::CrossSite => return Problem::cross_site().into_response(),
        Verdict::UntrustedProxy | Verdict::UnclearRequest => {
            return Problem::new(
                StatusCode::FORBIDDEN,
                "The proxy in front of this service is not set up for it. Its log says more.",
            )
            .into_response();
        }
        _ => {}
    }
    if refusal.verdict == Verdict::NotRenewed {
        return not_renewed(edge, refusal, headers);
    }
    let log_in = refusal.verdict.log_in();
    let Some(original) =
        refusal.original.as_ref().filter(|original| is_navigation(&original.method, headers))
    else {
        return Problem::unauthorized().into_response();
    };
    if log_in == LogIn::Useless {
        return Problem::unauthorized().into_response();
    }
    let link = edge.log_in_link(original.return_to());
    let page = Page {
        base_path: &edge.base_path,
        title: "Log in",
        message: "This page needs you to be logged in.",
        link: &link,
        link_text: "Log in",
        at_once: log_in == LogIn::AtOnce,
    };
    let mut response = page.answer(StatusCode::UNAUTHORIZED);
    let headers = response.headers_mut();
    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    if log_in == LogIn::AtOnce
        && let Ok(link) = HeaderValue::try_from(link)
    {
        headers.insert(&LOG_IN, link);
    }
    response
}

impl Edge {
    /// Returns the session with its newest token, renewed if it came in a
    /// cookie and is due. A bearer token is renewed by its holder.
    async fn with_renewal(&self, session: Session, credential: Credential<'_>, client: IpAddr) -> Passed {
        let token = credential.token();
        if matches!(credential, Credential::Cookie(_))
            && let Successor::Renewed(next) = self.renewal.successor(token, &session, Some(client)).await
        {
            return Passed::renewed(&next);
        }
        Passed { session, token: token.to_owned(), renewable_until: None }
    }

    /// Returns where a user logs in to come back to `return_to`: on this host
    /// if the issuer is on another, else on the issuer's page.
    fn log_in_link(&self, return_to: &str) -> String {
        let page = if self.hop.is_some() { "start" } else { "" };
        let return_to: String = url::form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
        format!("{}/{page}?return_to={return_to}", self.base_path)
    }
}
