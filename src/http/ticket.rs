//! The tower layer for tickets: single-use tokens in the query, for requests without
//! headers, such as a WebSocket handshake or a download link.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, REFERRER_POLICY};
use http::{HeaderValue, Request, Uri};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::error::Rejection;
use crate::event::{Event, EventKind, EventSink};
use crate::http::client_address::TrustedProxies;
use crate::http::problem::Problem;
#[cfg(feature = "proof")]
use crate::http::proof::{RequestHead, RequestProofs};
use crate::id::Subject;
use crate::session::Session;
use crate::ticket::TicketVerifier;
use crate::time::{Clock, SystemClock, UnixTime};

/// Passes a request with a ticket in its query (`?ticket=…`), once for each ticket,
/// with the ticket's [`Session`] for the extractor. The path must match the ticket's,
/// if it has one.
///
/// No cookie and no other credential is read: only the ticket authorizes the request,
/// so CSRF is impossible.
#[derive(Clone)]
pub struct TicketLayer<K = SystemClock> {
    tickets: TicketVerifier,
    #[cfg(feature = "proof")]
    proofs: Option<RequestProofs>,
    proxies: TrustedProxies,
    events: Option<Arc<dyn EventSink>>,
    clock: K,
}

impl<K> fmt::Debug for TicketLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketLayer")
            .field("tickets", &self.tickets)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}

impl TicketLayer {
    /// Makes a layer that redeems tickets.
    #[must_use]
    pub fn new(tickets: TicketVerifier) -> Self {
        Self {
            tickets,
            #[cfg(feature = "proof")]
            proofs: None,
            proxies: TrustedProxies::none(),
            events: None,
            clock: SystemClock,
        }
    }
}

impl<K> TicketLayer<K> {
    /// Also accepts tickets of sessions that are bound to a key, with a proof by that
    /// key. Without this they are refused.
    #[cfg(feature = "proof")]
    #[must_use]
    pub fn proofs(mut self, proofs: RequestProofs) -> Self {
        self.proofs = Some(proofs);
        self
    }

    /// Trusts these proxies for the client's address in events; as
    /// [`SessionLayer::trusted_proxies`](crate::SessionLayer::trusted_proxies).
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Sends `sink` an event for each ticket that is redeemed or refused, and
    /// the client's address for each use, if it is known. A request without a
    /// ticket is no event. It is called on the request path, so it must return
    /// at once.
    #[must_use]
    pub fn events(mut self, sink: Arc<dyn EventSink>) -> Self {
        self.events = Some(sink);
        self
    }

    /// Sets another clock.
    #[must_use]
    pub fn with_clock<L: Clock>(self, clock: L) -> TicketLayer<L> {
        TicketLayer {
            tickets: self.tickets,
            #[cfg(feature = "proof")]
            proofs: self.proofs,
            proxies: self.proxies,
            events: self.events,
            clock,
        }
    }
}

impl<K: Clock> TicketLayer<K> {
    fn redeem<B>(&self, request: &Request<B>) -> Result<Session, Option<Rejection>> {
        let now = self.clock.now();
        let redeemed = self.redeemed(request, now);
        if let Some(sink) = &self.events {
            let address = self.proxies.client_of(request);
            match &redeemed {
                Ok(session) => {
                    let mut event = Event::new(EventKind::TicketRedeemed, now)
                        .of(Subject::new(session.subject()).ok())
                        .session(session.id());
                    event.address = address;
                    sink.record(event);
                    if let Some(address) = address {
                        sink.used(session.id(), address, now);
                    }
                }
                Err(Some(rejection)) => {
                    let mut event = Event::new(EventKind::TokenRefused(rejection.reason()), now);
                    event.address = address;
                    sink.record(event);
                }
                Err(None) => {}
            }
        }
        redeemed
    }

    /// `None` for a request without a ticket, or with two.
    fn redeemed<B>(&self, request: &Request<B>, now: UnixTime) -> Result<Session, Option<Rejection>> {
        // Nested routers shorten the path; the ticket is for the path that the
        // client sent.
        let uri =
            request.extensions().get::<axum::extract::OriginalUri>().map_or(request.uri(), |uri| &uri.0);
        let ticket = ticket(uri).ok_or(None)?;
        #[cfg(feature = "proof")]
        if let Some(proofs) = &self.proofs {
            return proofs
                .with(RequestHead::of(request), |asked| {
                    self.tickets.redeem_bound(ticket, uri.path(), asked, proofs.proofs(), now)
                })
                .map_err(Some);
        }
        self.tickets.redeem(ticket, uri.path(), now).map_err(Some)
    }
}

/// Returns the only ticket in a query. It is base64url, so it needs no unescaping.
fn ticket(uri: &Uri) -> Option<&str> {
    let pairs = uri.query()?.split('&');
    let mut tickets = pairs.filter_map(|pair| pair.strip_prefix("ticket="));
    tickets.next().filter(|_| tickets.next().is_none())
}

impl<S, K: Clone> Layer<S> for TicketLayer<K> {
    type Service = TicketService<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        TicketService { inner, layer: self.clone() }
    }
}

/// The service that [`TicketLayer`] makes.
#[derive(Clone, Debug)]
pub struct TicketService<S, K = SystemClock> {
    inner: S,
    layer: TicketLayer<K>,
}

impl<S, K, B> Service<Request<B>> for TicketService<S, K>
where
    S: Service<Request<B>, Response = Response>,
    K: Clock,
{
    type Response = Response;
    type Error = S::Error;
    type Future = TicketFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.layer.redeem(&request) {
            Ok(session) => {
                request.extensions_mut().insert(session);
                TicketFuture { kind: Kind::Inner { future: self.inner.call(request) } }
            }
            Err(rejection) => {
                let response = Problem::unauthorized().into_response();
                #[cfg(feature = "proof")]
                let response = match &self.layer.proofs {
                    Some(proofs) => {
                        let now = self.layer.clock.now();
                        proofs.answered(response, request.headers(), rejection.as_ref(), now)
                    }
                    None => response,
                };
                let mut response = response;
                if let Some(rejection) = rejection {
                    response.extensions_mut().insert(rejection);
                }
                TicketFuture { kind: Kind::Refused { response: Some(response) } }
            }
        }
    }
}

pin_project! {
    /// The response of a [`TicketService`].
    #[derive(Debug)]
    pub struct TicketFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<F> {
        Inner { #[pin] future: F },
        Refused { response: Option<Response> },
    }
}

impl<F, E> Future for TicketFuture<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = match self.project().kind.project() {
            KindProj::Inner { future } => ready!(future.poll(cx))?,
            KindProj::Refused { response } => match response.take() {
                Some(response) => response,
                None => return Poll::Pending,
            },
        };
        let headers = response.headers_mut();
        // A ticket's answer must not be cached for others with the same URL.
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::ticket;

    #[test]
    fn one_ticket_in_the_query() {
        for (uri, expected) in [
            ("/x?ticket=abc", Some("abc")),
            ("/x?a=b&ticket=abc&c", Some("abc")),
            ("/x?ticket=", Some("")),
            ("/x?ticket=abc&ticket=abc", None),
            ("/x?tickets=abc", None),
            ("/x?ticket", None),
            ("/x", None),
        ] {
            assert_eq!(ticket(&uri.parse().unwrap()), expected, "{uri}");
        }
    }
}
