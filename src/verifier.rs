//! The edge's whole work in one call: text → verified → admitted.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{ConfigError, Rejection};
use crate::key::LiveKeys;
use crate::policy::{Lifetimes, Policy, Revocations, StalePolicy};
#[cfg(feature = "proof")]
use crate::proof::{ProofRequest, ProofVerifier};
use crate::revocation::RevocationList;
#[cfg(any(feature = "axum", feature = "sync"))]
use crate::session::Lifeline;
use crate::session::Session;
use crate::time::UnixTime;
#[cfg(any(feature = "axum", feature = "sync"))]
use crate::time::{Clock, SystemClock};
use crate::verify::{UnverifiedToken, VerifiedToken, verify_many};

/// Verifies and admits tokens with public keys alone. Clones are cheap and
/// share the keys.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: LiveKeys,
    policy: Arc<Policy>,
    #[cfg(any(feature = "axum", feature = "sync"))]
    lifeline: Arc<Lifeline>,
}

impl Verifier {
    /// A verifier that trusts `keys`: a [`KeySet`](crate::KeySet), or [`LiveKeys`] that
    /// something else replaces.
    pub fn builder(keys: impl Into<LiveKeys>) -> VerifierBuilder {
        VerifierBuilder {
            keys: keys.into(),
            issuer: None,
            audience: None,
            leeway: Lifetimes::DEFAULT_LEEWAY,
            revocations: None,
        }
    }

    /// Verifies and admits one token.
    ///
    /// # Errors
    /// The first [`Rejection`] in the order of [`Reason`](crate::Reason).
    pub fn verify<C>(&self, token: impl AsRef<[u8]>, now: UnixTime) -> Result<Session<C>, Rejection> {
        let unverified = UnverifiedToken::decode(token)?;
        let verified = unverified.verify(&self.keys.load(), now);
        self.admit(verified.inspect_err(|why| self.noticed(why))?, now)
    }

    /// Verifies and admits many tokens: the verdicts of [`Verifier::verify`], in
    /// less time than one by one.
    pub fn verify_many<C>(
        &self,
        tokens: &[impl AsRef<[u8]>],
        now: UnixTime,
    ) -> Vec<Result<Session<C>, Rejection>> {
        let decoded: Vec<_> = tokens.iter().map(UnverifiedToken::decode).collect();
        let frames: Vec<_> = decoded.iter().filter_map(|token| token.as_ref().ok().cloned()).collect();
        let mut verified = verify_many(&frames, &self.keys.load(), now).into_iter();
        decoded
            .into_iter()
            .filter_map(|token| match token {
                Ok(_) => verified
                    .next()
                    .map(|verified| self.admit(verified.inspect_err(|why| self.noticed(why))?, now)),
                Err(rejection) => Some(Err(rejection)),
            })
            .collect()
    }

    /// A key that is unknown here may just be new.
    fn noticed(&self, why: &Rejection) {
        if matches!(why, Rejection::UnknownKey { .. }) {
            self.keys.report_unknown();
        }
    }

    /// The issuer's half of a renewal: signature, issuer and audience, and
    /// nothing of time, since an expired token may be evidence of theft.
    #[cfg(feature = "server")]
    pub(crate) fn verify_for_renewal(
        &self,
        token: impl AsRef<[u8]>,
        now: UnixTime,
    ) -> Result<VerifiedToken, Rejection> {
        let verified = UnverifiedToken::decode(token)?.verify(&self.keys.load(), now)?;
        self.policy.for_us(verified.claims())?;
        not_bound(&verified)?;
        Ok(verified)
    }

    /// Whether a token is known to be revoked, whatever its times.
    #[cfg(feature = "server")]
    pub(crate) fn check_revoked(&self, token: &VerifiedToken, now: UnixTime) -> Result<(), Rejection> {
        self.policy.not_revoked(token.key_id(), token.claims(), now)
    }

    /// Admits a token whose signature has been verified.
    ///
    /// # Errors
    /// As [`Verifier::verify`], from [`Rejection::WrongIssuer`] on.
    pub fn admit<C>(&self, token: VerifiedToken, now: UnixTime) -> Result<Session<C>, Rejection> {
        self.policy.admit(token.key_id(), token.claims(), now)?;
        not_bound(&token)?;
        Ok(self.session(token))
    }

    /// The same verifier, whose sessions read another clock to tell when they
    /// have [`ended`](Session::ended); the machine's own unless said otherwise.
    #[cfg(any(feature = "axum", feature = "sync"))]
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.lifeline = Lifeline::new(Arc::clone(&self.policy), self.keys.clone(), Arc::new(clock));
        self
    }

    /// Verifies and admits one token, with the proof of the client's key if
    /// the session is bound to one. (That of an unbound session is not looked
    /// at.)
    ///
    /// # Errors
    /// As [`Verifier::verify`]; a proof that is missing or fails a check is
    /// [`Rejection::ProofRequired`] with
    /// [the check's name](crate::proof::ProofError::as_str), one that was used
    /// already [`Rejection::Replayed`].
    #[cfg(feature = "proof")]
    pub fn verify_bound<C>(
        &self,
        token: impl AsRef<[u8]>,
        request: &ProofRequest<'_>,
        proofs: &ProofVerifier,
        now: UnixTime,
    ) -> Result<Session<C>, Rejection> {
        let token = token.as_ref();
        let verified = self.signed(&UnverifiedToken::decode(token)?, now)?;
        self.policy.admit(verified.key_id(), verified.claims(), now)?;
        if let Some(key) = &verified.claims().bound_to {
            proofs.check(request, token, verified.claims().session.session_id, key, now)?;
        }
        Ok(self.session(verified))
    }

    /// The signature alone, of a token or a ticket.
    pub(crate) fn signed(&self, token: &UnverifiedToken, now: UnixTime) -> Result<VerifiedToken, Rejection> {
        token.verify(&self.keys.load(), now).inspect_err(|why| self.noticed(why))
    }

    /// The session of a token that was admitted, with what can tell when it is
    /// over.
    pub(crate) fn session<C>(&self, token: VerifiedToken) -> Session<C> {
        let session = Session::admitted(token);
        #[cfg(any(feature = "axum", feature = "sync"))]
        let session = session.with_lifeline(&self.lifeline);
        session
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The keys it trusts.
    #[must_use]
    pub const fn keys(&self) -> &LiveKeys {
        &self.keys
    }
}

/// A session bound to a key needs a proof of it, wherever it is used.
pub(crate) const fn not_bound(token: &VerifiedToken) -> Result<(), Rejection> {
    match token.claims().bound_to {
        Some(_) => Err(Rejection::ProofRequired { detail: "missing" }),
        None => Ok(()),
    }
}

/// Builds a [`Verifier`].
#[derive(Debug)]
#[must_use]
pub struct VerifierBuilder {
    keys: LiveKeys,
    issuer: Option<Box<str>>,
    audience: Option<Box<str>>,
    leeway: Duration,
    revocations: Option<Revocations>,
}

impl VerifierBuilder {
    /// Admits tokens for this audience only. Without it, only tokens that name
    /// none.
    pub fn audience(mut self, audience: impl Into<Box<str>>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Admits tokens of this issuer only. Without it, only tokens that name
    /// none.
    pub fn issuer(mut self, issuer: impl Into<Box<str>>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Clock skew to forgive on both sides: whole seconds, at most 60.
    pub const fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Refuses what this list revokes, and everything while the list is stale:
    /// by default once its signed time is 15 minutes ago, the default idle
    /// timeout, since a token that could not be renewed for so long is over
    /// anyway. See [`VerifierBuilder::stale_policy`].
    pub fn revocations(mut self, list: RevocationList) -> Self {
        let stale = StalePolicy::RefuseAfter(Lifetimes::default().idle_timeout());
        self.revocations = Some(Revocations::Known { list, stale });
        self
    }

    /// What becomes of requests when the revocation list is old; after
    /// [`VerifierBuilder::revocations`].
    pub fn stale_policy(mut self, policy: StalePolicy) -> Self {
        if let Some(Revocations::Known { stale, .. }) = &mut self.revocations {
            *stale = policy;
        }
        self
    }

    /// Says that log-outs need not be known here before the token expires.
    pub fn without_revocations(mut self) -> Self {
        self.revocations = Some(Revocations::Unknown);
        self
    }

    /// # Errors
    /// [`ConfigError::Builder`] if neither a revocation list was given nor
    /// [`VerifierBuilder::without_revocations`] said;
    /// [`ConfigError::Lifetimes`] if the leeway is over 60 s.
    pub fn build(self) -> Result<Verifier, ConfigError> {
        let Some(revocations) = self.revocations else {
            return Err(ConfigError::Builder(
                "say where this verifier learns of revocations: .revocations(list) or .without_revocations()",
            ));
        };
        if self.leeway > Lifetimes::MAX_LEEWAY || self.leeway.subsec_nanos() != 0 {
            return Err(ConfigError::Lifetimes("leeway must be whole seconds, at most 60s".to_owned()));
        }
        let policy =
            Policy { issuer: self.issuer, audience: self.audience, leeway: self.leeway, revocations };
        let policy = Arc::new(policy);
        Ok(Verifier {
            #[cfg(any(feature = "axum", feature = "sync"))]
            lifeline: Lifeline::new(Arc::clone(&policy), self.keys.clone(), Arc::new(SystemClock)),
            keys: self.keys,
            policy,
        })
    }
}
