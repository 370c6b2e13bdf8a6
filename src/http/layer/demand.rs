//! A route's requirements of a session.

use core::fmt;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::Request;
use serde::de::DeserializeOwned;
use tower::{Layer, Service};

use super::future::ResponseFuture;
use super::refusal::{Answers, Refusal};
use crate::session::Session;
use crate::time::UnixTime;

type Predicate = dyn Fn(&Session) -> bool + Send + Sync;

/// A route's requirements of the session that an outer
/// [`SessionLayer`](super::SessionLayer) admitted. It is a layer, for `.layer(…)`.
///
/// A request without a session gets 401, also under an optional layer.
#[derive(Clone, Default)]
pub struct Demand {
    authenticated_within: Option<Duration>,
    authenticated_by: &'static [&'static str],
    claims: Option<Arc<Predicate>>,
}

impl Demand {
    /// Requires any session.
    #[must_use]
    pub const fn new() -> Self {
        Self { authenticated_within: None, authenticated_by: &[], claims: None }
    }

    /// Requires an authentication at most this long ago, in whole seconds. Otherwise
    /// 401 with `insufficient_user_authentication` (RFC 9470): the client should
    /// `POST /reauthenticate` and retry.
    #[must_use]
    pub const fn authenticated_within(mut self, age: Duration) -> Self {
        self.authenticated_within = Some(age);
        self
    }

    /// Requires that the user authenticated by one of these methods (`amr`, RFC
    /// 8176), like `otp` or `hwk`. Otherwise 403.
    #[must_use]
    pub const fn authenticated_by(mut self, methods: &'static [&'static str]) -> Self {
        self.authenticated_by = methods;
        self
    }

    /// Also requires this of the application's claims. Otherwise, or if the claims
    /// are missing or of another type, 403.
    #[must_use]
    pub fn claims<C: DeserializeOwned + 'static>(
        mut self,
        allow: impl Fn(&C) -> bool + Send + Sync + 'static,
    ) -> Self {
        let before = self.claims.take();
        self.claims = Some(Arc::new(move |session: &Session| {
            before.as_ref().is_none_or(|before| before(session))
                && session.clone().with_claims::<C>().claims().is_ok_and(|claims| allow(&claims))
        }));
        self
    }

    pub(super) fn check(&self, session: &Session, now: UnixTime) -> Result<(), Refusal> {
        if let Some(age) = self.authenticated_within {
            session.authenticated_within(age, now).map_err(Refusal::Rejected)?;
        }
        if !self.authenticated_by.is_empty()
            && !session.amr().any(|method| self.authenticated_by.contains(&method))
        {
            return Err(Refusal::Forbidden);
        }
        match &self.claims {
            Some(allow) if !allow(session) => Err(Refusal::Forbidden),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demand")
            .field("authenticated_within", &self.authenticated_within)
            .field("authenticated_by", &self.authenticated_by)
            .field("claims", &self.claims.is_some())
            .finish()
    }
}

impl<S> Layer<S> for Demand {
    type Service = DemandService<S>;

    fn layer(&self, inner: S) -> DemandService<S> {
        DemandService { inner, demand: self.clone() }
    }
}

/// The service of [`Demand`].
#[derive(Clone, Debug)]
pub struct DemandService<S> {
    inner: S,
    demand: Demand,
}

impl<S, B> Service<Request<B>> for DemandService<S>
where
    S: Service<Request<B>, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let session = request.extensions().get::<Session>();
        let now = session.map_or(UnixTime::EPOCH, Session::now);
        let refused = match session {
            Some(session) => self.demand.check(session, now).err(),
            None => Some(Refusal::NoToken),
        };
        let Some(refusal) = refused else { return ResponseFuture::inner(self.inner.call(request)) };
        let plain = Arc::default();
        let answers = request.extensions().get::<Arc<Answers>>().unwrap_or(&plain);
        ResponseFuture::refused(answers.refuse(refusal, &request, session, now))
    }
}
