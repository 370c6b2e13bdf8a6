//! Refused requests: the reasons, the events and the answers.

use core::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Request, StatusCode, Uri};

use crate::error::{ConfigError, Rejection};
use crate::event::{Event, EventKind, EventSink};
use crate::http::client_address::TrustedProxies;
use crate::http::credential::CredentialError;
use crate::http::navigation::is_navigation;
use crate::http::problem::{self, Problem};
use crate::session::Session;
use crate::time::UnixTime;

/// Why a request was refused, in the extensions of the response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It has no token.
    #[error("no token")]
    NoToken,
    /// It has two tokens.
    #[error(transparent)]
    Ambiguous(CredentialError),
    /// A page of another site made the browser send it.
    #[error("made by a page of another site")]
    CrossSite,
    /// Its token was refused, or its log-in is too old for this route.
    #[error(transparent)]
    Rejected(Rejection),
    /// Its token has expired, its session may go on, and the issuer, which
    /// could renew it, does not answer: 503.
    #[error("the token has expired, and the issuer does not answer")]
    NotRenewed,
    /// Its session was admitted, but its claims do not allow this.
    #[error("the session's claims do not allow this")]
    Forbidden,
}

impl Refusal {
    /// Returns the token's rejection, if that is the reason.
    #[must_use]
    pub const fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            _ => None,
        }
    }

    fn problem(&self) -> Problem {
        match self {
            Self::CrossSite => Problem::cross_site(),
            Self::NotRenewed => Problem::not_renewed(),
            Self::Forbidden => Problem::forbidden(),
            Self::Rejected(Rejection::ReauthenticationRequired { max_age_secs, .. }) => {
                Problem::reauthentication_required(*max_age_secs)
            }
            _ => Problem::unauthorized(),
        }
    }

    /// What a new log-in must meet to help; `None` if none would help.
    const fn log_in(&self) -> Option<LogIn> {
        match self {
            Self::NoToken => Some(LogIn::AnySession),
            Self::Rejected(rejection) => match rejection {
                Rejection::ReauthenticationRequired { max_age_secs, .. } => {
                    Some(LogIn::Within(*max_age_secs))
                }
                // No log-in resolves these.
                Rejection::RevocationsStale { .. } | Rejection::Capacity => None,
                // The log-in page may accept this token, and would send the
                // browser back at once.
                _ => Some(LogIn::Within(0)),
            },
            // Two cookies: the planted one would stay.
            Self::Ambiguous(_) | Self::CrossSite | Self::NotRenewed | Self::Forbidden => None,
        }
    }
}

/// The requirement for the log-in page.
#[derive(Clone, Copy)]
enum LogIn {
    AnySession,
    /// The greatest age of the log-in, in seconds.
    Within(u64),
}

/// How a layer answers refused requests, and its event sink.
#[derive(Clone, Default)]
pub(super) struct Answers {
    pub(super) log_in: Option<Arc<str>>,
    pub(super) proxies: TrustedProxies,
    pub(super) events: Option<Arc<dyn EventSink>>,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers")
            .field("log_in", &self.log_in)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}

impl Answers {
    /// Stores them for an inner [`Demand`](super::Demand), if they have
    /// settings that it lacks.
    pub(super) fn leave<B>(self: &Arc<Self>, request: &mut Request<B>) {
        if self.log_in.is_some() || self.events.is_some() {
            request.extensions_mut().insert(Arc::clone(self));
        }
    }

    /// The client's address, if it is known.
    pub(super) fn client<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        self.proxies.client_of(request)
    }

    /// Sends an event about a refused token; `session` is its session, if
    /// known.
    pub(super) fn record<B>(
        &self,
        refusal: &Refusal,
        request: &Request<B>,
        session: Option<&Session>,
        now: UnixTime,
    ) {
        let (Some(sink), Refusal::Rejected(rejection)) = (&self.events, refusal) else { return };
        let mut event = Event::new(EventKind::TokenRefused(rejection.reason()), now);
        event.address = self.client(request);
        event.session = session.map(Session::id);
        sink.record(event);
    }

    /// Sends an event about a refusal and answers it.
    pub(super) fn refuse<B>(
        &self,
        refusal: Refusal,
        request: &Request<B>,
        session: Option<&Session>,
        now: UnixTime,
    ) -> Response {
        self.record(&refusal, request, session, now);
        self.answer(refusal, request)
    }

    fn answer<B>(&self, refusal: Refusal, request: &Request<B>) -> Response {
        let page = self.log_in.as_deref().filter(|_| is_navigation(request.method(), request.headers()));
        let not_renewed = refusal == Refusal::NotRenewed;
        let mut response = match (page, refusal.log_in()) {
            (Some(page), Some(log_in)) => redirect(page, log_in, request.uri()),
            _ => refusal.problem().into_response(),
        };
        if not_renewed {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(problem::RETRY_AFTER));
        }
        response.extensions_mut().insert(refusal);
        response
    }
}

/// A path of the same host.
pub(super) fn log_in_path(path: &str) -> Result<Arc<str>, ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    if !path.starts_with('/') || path.starts_with("//") || !path.chars().all(plain) {
        return Err(ConfigError::Builder("log-in is at a path of the same host, like \"/.hallpass/\""));
    }
    Ok(path.into())
}

fn redirect(page: &str, log_in: LogIn, wanted: &Uri) -> Response {
    let mut target = format!("{page}?return_to=");
    let wanted = wanted.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    // A path with two slashes would name another host.
    let wanted = if wanted.starts_with("//") { "/" } else { wanted };
    for byte in wanted.bytes() {
        // RFC 3986 §2.3, and the slash, which needs no escape in a query.
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            target.push(char::from(byte));
        } else {
            let _ = write!(target, "%{byte:02X}");
        }
    }
    if let LogIn::Within(seconds) = log_in {
        let _ = write!(target, "&max_age={seconds}");
    }
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // All of it is ASCII by now.
    if let Ok(target) = HeaderValue::try_from(target) {
        headers.insert(LOCATION, target);
    }
    response
}
