//! The service that wraps another one.

use core::task::{Context, Poll};

use axum::response::Response;
use http::{HeaderValue, Request};
use tower::Service;

use super::future::ResponseFuture;
#[cfg(feature = "sync")]
use super::future::{Boxed, Renewal};
use super::refusal::Refusal;
use super::{SessionLayer, Without};
use crate::error::{ProofError, Reason, Rejection};
use crate::http::credential::Credential;
#[cfg(feature = "sync")]
use crate::http::credential::CredentialError;
use crate::http::csrf;
#[cfg(feature = "proof")]
use crate::http::proof::{self, RequestHead};
#[cfg(feature = "sync")]
use crate::renew::{Begun, Successor};
use crate::session::Session;
use crate::time::{Clock, UnixTime};

/// A token with a proof, on a service that checks none.
const NO_PROOFS: Rejection = Rejection::ProofRequired { detail: ProofError::NotCheckedHere };

/// The service that [`SessionLayer`] makes.
#[derive(Clone, Debug)]
pub struct SessionMiddleware<S, K = crate::time::SystemClock> {
    inner: S,
    layer: SessionLayer<K>,
}

impl<S, K> SessionMiddleware<S, K> {
    pub(super) const fn new(inner: S, layer: SessionLayer<K>) -> Self {
        Self { inner, layer }
    }
}

impl<K: Clock> SessionLayer<K> {
    fn admit<B>(
        &self,
        request: &Request<B>,
        credential: Credential<'_>,
        now: UnixTime,
    ) -> Result<Session, Refusal> {
        let settings = &*self.0;
        if matches!(credential, Credential::Cookie(_))
            && (csrf::is_unsafe(request.method()) || csrf::opens_web_socket(request.headers()))
        {
            settings.origins.check(request.headers(), request.uri()).map_err(|_| Refusal::CrossSite)?;
        }
        let session = match credential {
            Credential::Cookie(token) | Credential::Bearer(token) => settings.verifier.verify(token, now),
            Credential::Dpop(token) => self.verify_bound(request, token, now),
        };
        if self.may_renew(credential, session.as_ref().err()) {
            return session.map_err(Refusal::Rejected);
        }
        self.count(request, session.as_ref().map_err(Rejection::reason), now);
        session.map_err(Refusal::Rejected)
    }

    /// Sends the event sink the outcome for a token.
    fn count<B>(&self, request: &Request<B>, verdict: Result<&Session, Reason>, now: UnixTime) {
        let settings = &*self.0;
        if let Some(sink) = &settings.answers.events {
            sink.verdict(verdict.map(drop));
            if let (Ok(session), Some(address)) = (verdict, settings.answers.client(request)) {
                sink.used(session.id(), address, now);
            }
        }
    }

    /// Returns whether the token is a cookie's, has expired, and can be renewed
    /// here.
    #[cfg(feature = "sync")]
    fn may_renew(&self, credential: Credential<'_>, why: Option<&Rejection>) -> bool {
        self.0.renewal.is_some()
            && matches!(credential, Credential::Cookie(_))
            && matches!(why, Some(Rejection::Expired { .. }))
    }

    #[cfg(not(feature = "sync"))]
    #[expect(clippy::unused_self, reason = "nothing to ask")]
    const fn may_renew(&self, _: Credential<'_>, _: Option<&Rejection>) -> bool {
        false
    }

    #[cfg(feature = "proof")]
    fn verify_bound<B>(
        &self,
        request: &Request<B>,
        token: &str,
        now: UnixTime,
    ) -> Result<Session, Rejection> {
        match &self.0.proofs {
            Some(proofs) => proofs.verify(&self.0.verifier, token, RequestHead::of(request), now),
            None => Err(NO_PROOFS),
        }
    }

    #[cfg(not(feature = "proof"))]
    #[expect(clippy::unused_self, reason = "nothing to ask")]
    const fn verify_bound<B>(&self, _: &Request<B>, _: &str, _: UnixTime) -> Result<Session, Rejection> {
        Err(NO_PROOFS)
    }

    /// A nonce for a client that sends proofs.
    #[cfg_attr(not(feature = "proof"), expect(clippy::unused_self, reason = "nobody makes any"))]
    fn nonce<B>(&self, request: &Request<B>, now: UnixTime) -> Option<HeaderValue> {
        #[cfg(feature = "proof")]
        if let Some(proofs) = self.0.proofs.as_ref().filter(|_| proof::is_meant(request.headers())) {
            return proofs.nonce(now);
        }
        let _ = (request, now);
        None
    }

    fn refuse<B>(
        &self,
        refusal: Refusal,
        request: &Request<B>,
        session: Option<&Session>,
        now: UnixTime,
    ) -> Response {
        #[cfg(feature = "proof")]
        let rejection = refusal.rejection().cloned();
        let response = self.0.answers.refuse(refusal, request, session, now);
        #[cfg(feature = "proof")]
        let response = match &self.0.proofs {
            Some(proofs) => proofs.answered(response, request.headers(), rejection.as_ref(), now),
            None => response,
        };
        response
    }

    /// The renewal of a cookie's token, if it can be renewed.
    #[cfg(feature = "sync")]
    fn renewal<B>(
        &self,
        request: &Request<B>,
        credential: Result<Option<Credential<'_>>, CredentialError>,
        session: &Session,
        now: UnixTime,
    ) -> Option<Renewal> {
        let (Some(client), Ok(Some(Credential::Cookie(token)))) = (&self.0.renewal, credential) else {
            return None;
        };
        // Computed late: finding the address means reading headers, and few
        // tokens are due.
        let begun = client.begin_for(token, session, || self.0.answers.client(request));
        Renewal::begin(begun, &self.0.cookie, now)
    }
}

impl<K: Clock> SessionLayer<K> {
    /// Returns the session to serve the request with, if there is one, or the
    /// answer to a refused request.
    fn decide<B>(
        &self,
        admitted: Result<Session, Refusal>,
        request: &Request<B>,
        now: UnixTime,
    ) -> Result<Option<Session>, Box<Response>> {
        let settings = &*self.0;
        let session = match admitted {
            Ok(session) => session,
            // A cross-site request is refused even where no session is needed:
            // it has the cookie, and the service might read that itself.
            Err(refusal) if settings.without == Without::Refused || refusal == Refusal::CrossSite => {
                return Err(self.refuse(refusal, request, None, now).into());
            }
            Err(refusal) => {
                settings.answers.record(&refusal, request, None, now);
                return Ok(None);
            }
        };
        if let Err(refusal) = settings.demand.check(&session, now) {
            return Err(self.refuse(refusal, request, Some(&session), now).into());
        }
        Ok(Some(session))
    }

    /// Puts the session into the request for the inner service.
    fn hand_on<B>(&self, session: Option<Session>, request: &mut Request<B>) {
        match session {
            Some(session) => request.extensions_mut().insert(session),
            // Also not a session that an outer layer admitted, for another
            // audience for example.
            None => request.extensions_mut().remove::<Session>(),
        };
        self.0.answers.leave(request);
    }
}

impl<S, K> SessionMiddleware<S, K>
where
    S: Clone,
    K: Clock,
{
    /// Renews an expired token, which was refused for `why`, and then serves
    /// the request with its successor.
    #[cfg(feature = "sync")]
    fn renew_first<B, E>(
        &mut self,
        begun: Result<Begun, Rejection>,
        why: Rejection,
        mut request: Request<B>,
        now: UnixTime,
    ) -> Boxed<Result<Response, E>>
    where
        S: Service<Request<B>, Response = Response, Error = E> + Send + 'static,
        S::Future: Send,
        B: Send + 'static,
    {
        let layer = self.layer.clone();
        // The clone may not be ready.
        let clone = self.inner.clone();
        let mut inner = core::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let successor = match begun {
                Ok(Begun::Known(successor)) => Ok(successor),
                Ok(Begun::Waiting(waiting)) => Ok(waiting.wait().await),
                Err(rejection) => Err(rejection),
            };
            let admitted = match &successor {
                Ok(Successor::Renewed(next)) => Ok(next.session().clone()),
                Ok(Successor::Refused) => Err(Refusal::Rejected(why)),
                Ok(_) => Err(Refusal::NotRenewed),
                Err(rejection) => Err(Refusal::Rejected(rejection.clone())),
            };
            let reason = |refusal: &Refusal| refusal.rejection().map_or(Reason::Expired, Rejection::reason);
            layer.count(&request, admitted.as_ref().map_err(reason), now);
            let mut response = match layer.decide(admitted, &request, now) {
                Ok(session) => {
                    layer.hand_on(session, &mut request);
                    inner.call(request).await?
                }
                Err(refused) => *refused,
            };
            if let Ok(Successor::Renewed(next)) = &successor {
                let max_age = next.renewable_until().since(now);
                layer.0.cookie.renew(response.headers_mut(), next.as_str(), max_age);
            }
            Ok(response)
        })
    }
}

impl<S, K, B> Service<Request<B>> for SessionMiddleware<S, K>
where
    S: Service<Request<B>, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
    K: Clock,
    B: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let settings = &*self.layer.0;
        let now = settings.clock.now();
        let credential = Credential::find(request.headers(), settings.cookie.name());
        let admitted = match credential {
            Ok(Some(credential)) => self.layer.admit(&request, credential, now),
            Ok(None) => Err(Refusal::NoToken),
            Err(why) => Err(Refusal::Ambiguous(why)),
        };
        #[cfg(feature = "sync")]
        if let (Ok(Some(Credential::Cookie(token))), Some(client)) = (credential, &settings.renewal)
            && let Err(Refusal::Rejected(why @ Rejection::Expired { .. })) = &admitted
        {
            let begun = client.begin_expired(token, settings.answers.client(&request));
            let why = why.clone();
            return ResponseFuture::expired(self.renew_first(begun, why, request, now));
        }
        let session = match self.layer.decide(admitted, &request, now) {
            Ok(session) => session,
            Err(refused) => return ResponseFuture::refused(*refused),
        };
        let nonce = self.layer.nonce(&request, now);
        #[cfg(feature = "sync")]
        let renewal =
            session.as_ref().and_then(|session| self.layer.renewal(&request, credential, session, now));
        self.layer.hand_on(session, &mut request);
        #[cfg(feature = "sync")]
        if let Some(renewal) = renewal {
            return ResponseFuture::renewing(self.inner.call(request), renewal);
        }
        ResponseFuture::inner(self.inner.call(request)).nonce(nonce)
    }
}
