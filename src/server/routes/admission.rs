//! Admission of a request's token. The log, the metrics and the detectors get
//! the verdict.

use std::net::IpAddr;

use crate::error::Rejection;
use crate::event::{Event, EventKind, EventSink as _};
use crate::http::{Credential, proof};
use crate::policy::Profile;
use crate::proof::{NewBinding, ProofError};
use crate::server::hosts::Audiences;
use crate::server::login::Client;
use crate::server::routes::error::{ApiError, unprocessable};
use crate::server::routes::request::RequestContext;
use crate::server::state::App;
use crate::session::Session;
use crate::verify::VerifiedToken;

impl App {
    /// Returns the client, as trusted proxies report it.
    pub(crate) fn client(&self, context: &RequestContext) -> Client {
        Client::new(self.client_address(context), &context.headers)
    }

    /// Returns the client's address, as trusted proxies report it.
    pub(crate) fn client_address(&self, context: &RequestContext) -> IpAddr {
        self.settings.trusted_proxies.client(context.peer(), &context.headers)
    }

    /// Returns the session of a request. Only the log and the challenge get the
    /// reason for a refusal.
    pub(crate) fn session(&self, context: &RequestContext) -> Result<Session, ApiError> {
        self.admitted(context, Audiences::Own)
    }

    /// The same where an edge may ask on its user's behalf.
    pub(crate) fn session_of_any_host(&self, context: &RequestContext) -> Result<Session, ApiError> {
        self.admitted(context, Audiences::AnyHost)
    }

    /// Returns the session of a request that changes something. Refuses one
    /// that another site's page made with the cookie.
    pub(crate) fn acting(&self, context: &RequestContext) -> Result<Session, ApiError> {
        let by_cookie =
            !matches!(context.credential(), Ok(Some(Credential::Bearer(_) | Credential::Dpop(_))));
        if by_cookie && context.is_cross_site() {
            return Err(ApiError::CrossSite);
        }
        self.session(context)
    }

    /// Returns the profile of a log-in that asks to be remembered, or does not.
    pub(crate) fn profile(&self, remember: bool) -> Result<Profile, ApiError> {
        match (remember, self.service.profiles.remembers()) {
            (false, _) => Ok(Profile::Standard),
            (true, true) => Ok(Profile::Remembered),
            (true, false) => {
                Err(unprocessable("This service remembers nobody. Log in without \"remember\"."))
            }
        }
    }

    /// Returns the key that a log-in's proof is for, if there is a proof. Does
    /// not use it up.
    pub(crate) fn binding(&self, context: &RequestContext) -> Result<Option<NewBinding>, ProofError> {
        if !proof::is_there(&context.headers) {
            return Ok(None);
        }
        let proofs = self.hosts.proofs();
        proofs.with(context.head(), |request| proofs.proofs().check_log_in(request, self.now())).map(Some)
    }

    fn admitted(&self, context: &RequestContext, audiences: Audiences) -> Result<Session, ApiError> {
        let credential = context.credential().map_err(|error| {
            tracing::info!(%error, "request refused");
            ApiError::NoToken
        })?;
        let credential = credential.ok_or(ApiError::NoToken)?;
        let now = self.now();
        let admitted = self.hosts.admit(credential, context.head(), audiences, now);
        if let Ok(session) = &admitted {
            self.events.used(session.id(), self.client_address(context), now);
        }
        self.told(context, admitted).map_err(ApiError::Rejected)
    }

    /// Returns the genuine token of a request that logs out.
    pub(crate) fn logging_out(
        &self,
        context: &RequestContext,
        credential: Credential<'_>,
    ) -> Result<VerifiedToken, Rejection> {
        self.told(context, self.hosts.admit_for_log_out(credential, context.head(), self.now()))
    }

    /// Passes a verdict to the metrics, the log and the detectors.
    fn told<T>(&self, context: &RequestContext, verdict: Result<T, Rejection>) -> Result<T, Rejection> {
        self.events.verdict(verdict.as_ref().map(drop).map_err(Rejection::reason));
        verdict.inspect_err(|rejection| {
            let event = Event::new(EventKind::TokenRefused(rejection.reason()), self.now());
            self.events.record(event.from(self.client_address(context)));
        })
    }
}
