//! The response future. It is a named type, so that a request allocates nothing
//! for it.

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use axum::response::Response;
use http::{HeaderName, HeaderValue};
use pin_project_lite::pin_project;
#[cfg(feature = "sync")]
use tokio::task::JoinHandle;

use crate::http::cookie;
#[cfg(feature = "sync")]
use crate::http::cookie::SessionCookie;
#[cfg(feature = "sync")]
use crate::renew::{Begun, Renewed, Successor};
#[cfg(feature = "sync")]
use crate::time::UnixTime;

/// RFC 9449 §8.2.
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

pin_project! {
    /// The response of a [`SessionMiddleware`](super::SessionMiddleware).
    pub struct ResponseFuture<F>
    where
        F: Future,
    {
        #[pin]
        kind: Kind<F>,
        // For clients that send proofs.
        nonce: Option<HeaderValue>,
    }
}

#[cfg(not(feature = "sync"))]
pin_project! {
    #[project = KindProj]
    enum Kind<F>
    where
        F: Future,
    {
        Inner { #[pin] future: F },
        Refused { response: Option<Response> },
    }
}

#[cfg(feature = "sync")]
pin_project! {
    #[project = KindProj]
    enum Kind<F>
    where
        F: Future,
    {
        Inner { #[pin] future: F },
        /// An expired token is renewed first.
        Expired { future: Boxed<F::Output> },
        /// The response, kept while waiting for the issuer.
        Renewing { #[pin] future: F, response: Option<Response>, renewal: Renewal },
        Refused { response: Option<Response> },
    }
}

/// The type of a boxed future. Only requests with an expired token have one.
#[cfg(feature = "sync")]
pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<F: Future> core::fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// The new token, or the task that waits for it.
#[cfg(feature = "sync")]
#[derive(Debug)]
pub(super) struct Renewal {
    state: State,
    cookie: SessionCookie,
    now: UnixTime,
}

#[cfg(feature = "sync")]
#[derive(Debug)]
enum State {
    Done(Option<Renewed>),
    /// A task, since its handle is a named type. Only requests that arrive
    /// while the issuer is asked have one.
    Waiting(JoinHandle<Successor>),
}

#[cfg(feature = "sync")]
impl Renewal {
    /// `None` if the token is not renewed.
    pub(super) fn begin(begun: Begun, cookie: &SessionCookie, now: UnixTime) -> Option<Self> {
        let state = match begun {
            Begun::Known(Successor::Renewed(renewed)) => State::Done(Some(renewed)),
            Begun::Known(_) => return None,
            Begun::Waiting(waiting) => State::Waiting(tokio::spawn(waiting.wait())),
        };
        Some(Self { state, cookie: cookie.clone(), now })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Renewed>> {
        match &mut self.state {
            State::Done(renewed) => Poll::Ready(renewed.take()),
            State::Waiting(task) => Poll::Ready(match ready!(Pin::new(task).poll(cx)) {
                Ok(Successor::Renewed(renewed)) => Some(renewed),
                _ => None,
            }),
        }
    }
}

impl<F: Future> ResponseFuture<F> {
    pub(super) const fn inner(future: F) -> Self {
        Self { kind: Kind::Inner { future }, nonce: None }
    }

    pub(super) const fn refused(response: Response) -> Self {
        Self { kind: Kind::Refused { response: Some(response) }, nonce: None }
    }

    /// The same with a `DPoP-Nonce`.
    pub(super) fn nonce(self, nonce: Option<HeaderValue>) -> Self {
        Self { nonce, ..self }
    }

    #[cfg(feature = "sync")]
    pub(super) const fn expired(future: Boxed<F::Output>) -> Self {
        Self { kind: Kind::Expired { future }, nonce: None }
    }

    #[cfg(feature = "sync")]
    pub(super) const fn renewing(future: F, renewal: Renewal) -> Self {
        Self { kind: Kind::Renewing { future, response: None, renewal }, nonce: None }
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let done = match this.kind.project() {
            KindProj::Inner { future } => Some(ready!(future.poll(cx))?),
            KindProj::Refused { response } => response.take(),
            #[cfg(feature = "sync")]
            KindProj::Expired { future } => Some(ready!(future.as_mut().poll(cx))?),
            #[cfg(feature = "sync")]
            KindProj::Renewing { future, response, renewal } => {
                if response.is_none() {
                    *response = Some(ready!(future.poll(cx))?);
                }
                let renewed = ready!(renewal.poll(cx));
                let mut done = response.take();
                if let (Some(response), Some(renewed)) = (&mut done, renewed) {
                    let max_age = renewed.renewable_until().since(renewal.now);
                    renewal.cookie.renew(response.headers_mut(), renewed.as_str(), max_age);
                }
                done
            }
        };
        // Polled again after it was ready, where a future may do anything.
        let Some(mut response) = done else { return Poll::Pending };
        // The content depends on the user.
        cookie::vary_on_cookie(response.headers_mut());
        if let Some(nonce) = this.nonce.take() {
            response.headers_mut().insert(DPOP_NONCE, nonce);
        }
        Poll::Ready(Ok(response))
    }
}
