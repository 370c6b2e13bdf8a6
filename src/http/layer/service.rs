//! The service that wraps another one.

use core::task::{Context, Poll};

use axum::response::Response;
use http::{HeaderValue, Request};
use tower::Service;

#[cfg(feature = "sync")]
use super::future::Renewal;
use super::future::ResponseFuture;
use super::refusal::Refusal;
use super::{SessionLayer, Without};
use crate::error::{ProofError, Rejection};
use crate::http::credential::Credential;
#[cfg(feature = "sync")]
use crate::http::credential::CredentialError;
use crate::http::csrf;
#[cfg(feature = "proof")]
use crate::http::proof::{self, RequestHead};
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
        if let Some(sink) = &settings.answers.events {
            sink.verdict(session.as_ref().map(|_| ()).map_err(Rejection::reason));
            if let (Ok(session), Some(address)) = (&session, settings.answers.client(request)) {
                sink.used(session.id(), address, now);
            }
        }
        session.map_err(Refusal::Rejected)
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

impl<S, K, B> Service<Request<B>> for SessionMiddleware<S, K>
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
        let settings = &*self.layer.0;
        let now = settings.clock.now();
        let credential = Credential::find(request.headers(), settings.cookie.name());
        let admitted = match credential {
            Ok(Some(credential)) => self.layer.admit(&request, credential, now),
            Ok(None) => Err(Refusal::NoToken),
            Err(why) => Err(Refusal::Ambiguous(why)),
        };
        let session = match admitted {
            Ok(session) => session,
            // A cross-site request is refused even where no session is needed:
            // it has the cookie, and the service might read that itself.
            Err(refusal) if settings.without == Without::Refused || refusal == Refusal::CrossSite => {
                return ResponseFuture::refused(self.layer.refuse(refusal, &request, None, now));
            }
            Err(refusal) => {
                // Also not a session that an outer layer admitted, for another
                // audience for example.
                request.extensions_mut().remove::<Session>();
                settings.answers.record(&refusal, &request, None, now);
                settings.answers.leave(&mut request);
                let nonce = self.layer.nonce(&request, now);
                return ResponseFuture::inner(self.inner.call(request)).nonce(nonce);
            }
        };
        if let Err(refusal) = settings.demand.check(&session, now) {
            return ResponseFuture::refused(self.layer.refuse(refusal, &request, Some(&session), now));
        }
        let nonce = self.layer.nonce(&request, now);
        #[cfg(feature = "sync")]
        let renewal = self.layer.renewal(&request, credential, &session, now);
        request.extensions_mut().insert(session);
        settings.answers.leave(&mut request);
        #[cfg(feature = "sync")]
        if let Some(renewal) = renewal {
            return ResponseFuture::renewing(self.inner.call(request), renewal);
        }
        ResponseFuture::inner(self.inner.call(request)).nonce(nonce)
    }
}
