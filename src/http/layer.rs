//! The tower layer: each request's token is verified and admitted before the
//! service behind sees it.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::Request;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::error::Rejection;
use crate::event::{Event, EventKind, EventSink};
use crate::http::cookie::{self, SESSION_COOKIE};
use crate::http::credential::Credential;
use crate::http::csrf;
use crate::http::problem::Problem;
use crate::session::Session;
use crate::time::{Clock, SystemClock};
use crate::verifier::Verifier;

type Peer = axum::extract::ConnectInfo<SocketAddr>;

/// Who hears of verdicts.
#[derive(Clone)]
struct Sink(Arc<dyn EventSink>);

impl core::fmt::Debug for Sink {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sink")
    }
}

/// What happens to a request without an admitted session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    /// It is refused with 401.
    Required,
    /// It goes on without one.
    Optional,
}

/// Puts the admitted [`Session`] into the request's extensions, where the
/// extractor finds it, and refuses requests without one.
///
/// With [`events`](Self::events) an application hears of every verdict, for its
/// own log and metrics. A refused token's [`Rejection`] is left in the response's extensions for
/// logs and metrics; the client gets the same 401 for every reason.
#[derive(Clone, Debug)]
pub struct SessionLayer<K = SystemClock> {
    verifier: Verifier,
    demand: Demand,
    clock: K,
    events: Option<Sink>,
}

impl SessionLayer {
    /// A layer that lets only requests with a session through.
    #[must_use]
    pub const fn new(verifier: Verifier) -> Self {
        Self { verifier, demand: Demand::Required, clock: SystemClock, events: None }
    }
}

impl<K> SessionLayer<K> {
    /// Lets requests without a session through too; handlers take an
    /// `Option<Session>`.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.demand = Demand::Optional;
        self
    }

    /// Tells `sink` what became of every token: [`EventSink::verdict`] for each
    /// one, and an event for one that was refused. It is called on the request
    /// path, so it must return at once.
    ///
    /// The event's address is the peer's, if the server was started with
    /// `into_make_service_with_connect_info::<SocketAddr>()`; behind a proxy,
    /// that is the proxy's.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use hallpass::event::{Event, EventSink};
    /// use hallpass::{Reason, SessionLayer, Verifier};
    ///
    /// #[derive(Default)]
    /// struct Counts { accepted: AtomicU64, refused: AtomicU64 }
    ///
    /// impl EventSink for Counts {
    ///     fn record(&self, event: Event) {
    ///         eprintln!("{} from {:?}", event.kind.name(), event.address);
    ///     }
    ///     fn verdict(&self, verdict: Result<(), Reason>) {
    ///         let count = if verdict.is_ok() { &self.accepted } else { &self.refused };
    ///         count.fetch_add(1, Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// # fn example(verifier: Verifier) -> SessionLayer {
    /// SessionLayer::new(verifier).events(Counts::default())
    /// # }
    /// ```
    #[must_use]
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Some(Sink(Arc::new(sink)));
        self
    }

    /// Reads the time from another clock.
    #[must_use]
    pub fn with_clock<L: Clock + Clone>(self, clock: L) -> SessionLayer<L> {
        let verifier = self.verifier.with_clock(clock.clone());
        SessionLayer { verifier, demand: self.demand, clock, events: self.events }
    }
}

impl<S, K: Clone> Layer<S> for SessionLayer<K> {
    type Service = SessionService<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, layer: self.clone() }
    }
}

/// The service that [`SessionLayer`] makes.
#[derive(Clone, Debug)]
pub struct SessionService<S, K = SystemClock> {
    inner: S,
    layer: SessionLayer<K>,
}

/// Why a request has no session.
enum Refused {
    /// It carries no token.
    Absent,
    /// It carries two.
    Ambiguous,
    CrossSite,
    Rejected(Rejection),
}

impl<K: Clock> SessionLayer<K> {
    fn admit<B>(&self, request: &Request<B>) -> Result<Session, Refused> {
        let credential = Credential::find(request.headers(), SESSION_COOKIE)
            .map_err(|_| Refused::Ambiguous)?
            .ok_or(Refused::Absent)?;
        if matches!(credential, Credential::Cookie(_)) && csrf::is_unsafe(request.method()) {
            csrf::check(request.headers(), request.uri()).map_err(|_| Refused::CrossSite)?;
        }
        let now = self.clock.now();
        let session = self.verifier.verify(credential.token(), now);
        if let Some(Sink(events)) = &self.events {
            events.verdict(session.as_ref().map(|_| ()).map_err(Rejection::reason));
            if let Err(rejection) = &session {
                let mut event = Event::new(EventKind::TokenRefused(rejection.reason()), now);
                event.address = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical());
                events.record(event);
            }
        }
        session.map_err(Refused::Rejected)
    }
}

impl<S, K, B> Service<Request<B>> for SessionService<S, K>
where
    S: Service<Request<B>, Response = Response>,
    K: Clock,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let refused = match self.layer.admit(&request) {
            Ok(session) => {
                request.extensions_mut().insert(session);
                None
            }
            Err(refused) => Some(refused),
        };
        match (refused, self.layer.demand) {
            // A cross-site request is refused even where no session is needed:
            // it came with the cookie, and the service might read that itself.
            (Some(Refused::CrossSite), _) => ResponseFuture::refused(Problem::cross_site(), None),
            (Some(refused), Demand::Required) => {
                let rejection = match refused {
                    Refused::Rejected(rejection) => Some(rejection),
                    _ => None,
                };
                ResponseFuture::refused(Problem::unauthorized(), rejection)
            }
            (_, _) => ResponseFuture { kind: Kind::Inner { future: self.inner.call(request) } },
        }
    }
}

pin_project! {
    /// The response of a [`SessionService`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
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

impl<F> ResponseFuture<F> {
    fn refused(problem: Problem, rejection: Option<Rejection>) -> Self {
        let mut response = problem.into_response();
        if let Some(rejection) = rejection {
            response.extensions_mut().insert(rejection);
        }
        Self { kind: Kind::Refused { response: Some(response) } }
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = match self.project().kind.project() {
            KindProj::Inner { future } => ready!(future.poll(cx))?,
            KindProj::Refused { response } => match response.take() {
                Some(response) => response,
                // Polled again after it was ready, which a future may answer as it likes.
                None => return Poll::Pending,
            },
        };
        // What is shown depends on who asks.
        cookie::vary_on_cookie(response.headers_mut());
        Poll::Ready(Ok(response))
    }
}
