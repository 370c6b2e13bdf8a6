//! All of an edge's work in one call: text → verified → admitted.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::error::{ConfigError, ProofError, Rejection, RevokedBy};
use crate::key::{KeySet, LiveKeys, VerifyingKey};
use crate::policy::{Lifetimes, Policy, Revocations, StalePolicy};
#[cfg(feature = "proof")]
use crate::proof::{ProofRequest, ProofVerifier};
#[cfg(feature = "sync")]
use crate::revocation::FeedLifetimes;
use crate::revocation::RevocationList;
#[cfg(any(feature = "axum", feature = "sync"))]
use crate::session::Lifeline;
use crate::session::Session;
use crate::time::UnixTime;
#[cfg(any(feature = "axum", feature = "sync"))]
use crate::time::{Clock, SystemClock};
use crate::verify::{
    CachedToken, TokenCache, TokenCacheCounts, Unverified, UnverifiedToken, VerifiedToken, verify_many,
};

#[cfg(test)]
#[cfg(feature = "issuer")]
mod tests;

/// The batch size of [`Verifier::verify_many`]. Larger batches save nothing more.
const BATCH: usize = 32;

/// Verifies and admits tokens with public keys alone. Clones share the keys and
/// the cache of verified tokens.
///
/// A single `Arc`: HTTP services are cloned for every request, so a clone must
/// cost one reference count.
///
#[cfg_attr(feature = "issuer", doc = "```")]
#[cfg_attr(not(feature = "issuer"), doc = "```ignore")]
/// use hallpass::{Clock, Rejection, Session, SystemClock, Verifier};
/// # use hallpass::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa)?;
/// # let issuer = Issuer::new(key, Lifetimes::default())?;
/// # let token = issuer.start(Subject::new("alice")?, ["admin"], SystemClock.now())?;
/// # let dir = tempfile::tempdir()?;
/// # std::fs::write(dir.path().join("keys.cbor"), issuer.key_set().to_cose())?;
/// # let file = dir.path().join("keys.cbor");
/// // What `hallpass key export` wrote.
/// let keys = hallpass::KeySet::from_bytes(&std::fs::read(file)?)?;
/// let verifier = Verifier::builder(keys).without_revocations().build()?;
/// let session: Session<Vec<String>> = verifier.verify(token.as_str(), SystemClock.now())?;
/// assert_eq!((session.subject(), session.claims()?.as_slice()), ("alice", ["admin".to_owned()].as_slice()));
///
/// let changed = token.as_str().replace('A', "B");
/// let refused: Result<Session, Rejection> = verifier.verify(changed.as_str(), SystemClock.now());
/// assert!(refused.is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Verifier(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    keys: LiveKeys,
    policy: Arc<Policy>,
    cache: Option<Arc<TokenCache>>,
    #[cfg(any(feature = "axum", feature = "sync"))]
    lifeline: Arc<Lifeline>,
}

/// How to treat a revoked token before its proof is checked.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevokedTokens {
    /// Refuse it, so that its proof is not used up.
    Refused,
    /// Accept it: other sessions of the same log-in may be live.
    Taken,
}

impl Verifier {
    /// Builds a verifier that trusts `keys`: a fixed [`KeySet`](crate::KeySet), or
    /// [`LiveKeys`] that another task replaces.
    pub fn builder(keys: impl Into<LiveKeys>) -> VerifierBuilder {
        VerifierBuilder {
            keys: keys.into(),
            issuer: None,
            audience: None,
            leeway: Lifetimes::DEFAULT_LEEWAY,
            revocations: None,
            cache_bytes: Some(TokenCache::DEFAULT),
        }
    }

    /// Verifies and admits one token.
    ///
    /// # Errors
    /// The first [`Rejection`] in the order of [`Reason`](crate::Reason).
    pub fn verify<C>(&self, token: impl AsRef<[u8]>, now: UnixTime) -> Result<Session<C>, Rejection> {
        let text = token.as_ref();
        let keys = self.0.keys.load();
        if let Some(known) = self.verify_cached(text, &keys, now) {
            return known;
        }
        let mut bytes = UnverifiedToken::room_for(text)?;
        let token = Unverified::decode(text, &mut bytes)?;
        let key = token.key(&keys, now).inspect_err(|why| self.report_unknown_key(why))?;
        self.admit_new(text, token.verify(key)?, key, now)
    }

    /// Verifies and admits many tokens. The results are those of
    /// [`Verifier::verify`], in less time than one by one.
    pub fn verify_many<C>(
        &self,
        tokens: &[impl AsRef<[u8]>],
        now: UnixTime,
    ) -> Vec<Result<Session<C>, Rejection>> {
        let keys = self.0.keys.load();
        let mut verdicts = Vec::with_capacity(tokens.len());
        for batch in tokens.chunks(BATCH) {
            // Cached and malformed tokens already have their result.
            let mut frames = Vec::with_capacity(batch.len());
            let early: Vec<_> = batch
                .iter()
                .map(|token| {
                    let text = token.as_ref();
                    self.verify_cached(text, &keys, now).or_else(|| {
                        let frame = UnverifiedToken::decode(text).and_then(|token| {
                            let key = token.borrowed().key(&keys, now)?;
                            Ok((token, key))
                        });
                        let frame = frame.inspect_err(|why| self.report_unknown_key(why));
                        frame.map(|frame| frames.push(frame)).err().map(Err)
                    })
                })
                .collect();
            let mut verified = verify_many(&frames).into_iter().zip(&frames);
            verdicts.extend(batch.iter().zip(early).filter_map(|(token, early)| {
                early.or_else(|| {
                    let (verified, (_, key)) = verified.next()?;
                    Some(verified.and_then(|verified| self.admit_new(token.as_ref(), verified, key, now)))
                })
            }));
        }
        verdicts
    }

    /// [`Verifier::verify_many`] on this thread and up to `threads` − 1 more,
    /// which end before it returns. Use it for audits, not for a request.
    ///
    /// # Panics
    /// If the system cannot start a thread.
    pub fn verify_many_on<C>(
        &self,
        threads: NonZeroUsize,
        tokens: &[impl AsRef<[u8]> + Sync],
        now: UnixTime,
    ) -> Vec<Result<Session<C>, Rejection>> {
        let share = tokens.len().div_ceil(threads.get()).next_multiple_of(BATCH).max(BATCH);
        let (mine, theirs) = tokens.split_at(share.min(tokens.len()));
        thread::scope(|scope| {
            let others: Vec<_> = theirs
                .chunks(share)
                .map(|tokens| scope.spawn(move || self.verify_many(tokens, now)))
                .collect();
            let mut verdicts = self.verify_many(mine, now);
            for other in others {
                verdicts.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            verdicts
        })
    }

    /// Returns the result for a cached token. A hit proves only the signature, so
    /// the policy is checked again.
    fn verify_cached<C>(
        &self,
        text: &[u8],
        keys: &KeySet,
        now: UnixTime,
    ) -> Option<Result<Session<C>, Rejection>> {
        let cache = self.0.cache.as_ref()?;
        let cached = cache.get(text, keys, now)?;
        let verdict = self.admissible(cached.token(), now).inspect_err(|why| match why {
            Rejection::Revoked { by: RevokedBy::Key } => cache.remove_key(cached.token().key_id()),
            Rejection::Revoked { .. } | Rejection::Expired { .. } | Rejection::SessionEnded { .. } => {
                cache.remove(&cached);
            }
            _ => {}
        });
        Some(verdict.map(|()| self.session(Session::admitted_again(cached))))
    }

    /// Admits a token whose signature by `key` was just verified, and caches it.
    fn admit_new<C>(
        &self,
        text: &[u8],
        token: VerifiedToken,
        key: &VerifyingKey,
        now: UnixTime,
    ) -> Result<Session<C>, Rejection> {
        self.admissible(&token, now)?;
        let Some(cache) = &self.0.cache else { return Ok(self.session(Session::admitted(token))) };
        let cached = Arc::new(CachedToken::new(text, token, key));
        cache.insert(&cached);
        Ok(self.session(Session::admitted_again(cached)))
    }

    fn admissible(&self, token: &VerifiedToken, now: UnixTime) -> Result<(), Rejection> {
        self.0.policy.admit(token.key_id(), token.claims(), now)?;
        not_bound(token)
    }

    /// Reports an unknown key: it may be new, and the feed may have it.
    fn report_unknown_key(&self, why: &Rejection) {
        if matches!(why, Rejection::UnknownKey { .. }) {
            self.0.keys.report_unknown();
        }
    }

    /// Checks everything but the expiry of a token, for a cookie that may still
    /// be renewed. The result is good for nothing else.
    #[cfg(feature = "sync")]
    pub(crate) fn verify_expired(&self, token: &str, now: UnixTime) -> Result<VerifiedToken, Rejection> {
        let verified = self.signed(&UnverifiedToken::decode(token)?, now)?;
        self.0.policy.admit_expired(verified.key_id(), verified.claims(), now)?;
        not_bound(&verified)?;
        Ok(verified)
    }

    /// Checks everything but the expiry of a token. The result tells when the
    /// session ends, and is good for nothing else.
    #[cfg(feature = "server")]
    pub(crate) fn verify_session(&self, token: &str, now: UnixTime) -> Result<Session, Rejection> {
        let verified = self.signed(&UnverifiedToken::decode(token)?, now)?;
        self.0.policy.admit_expired(verified.key_id(), verified.claims(), now)?;
        Ok(self.session(Session::admitted(verified)))
    }

    /// Checks a token for renewal: signature, issuer and audience. Times are not
    /// checked, since an expired token may be evidence of theft.
    #[cfg(feature = "server")]
    pub(crate) fn verify_for_renewal(
        &self,
        token: impl AsRef<[u8]>,
        now: UnixTime,
    ) -> Result<VerifiedToken, Rejection> {
        let verified = self.signed(&UnverifiedToken::decode(token)?, now)?;
        self.0.policy.for_us(verified.claims())?;
        not_bound(&verified)?;
        Ok(verified)
    }

    /// The same for a token that is bound to a key, with a proof by that key.
    #[cfg(feature = "server")]
    pub(crate) fn verify_bound_for_renewal(
        &self,
        token: impl AsRef<[u8]>,
        request: &ProofRequest<'_>,
        proofs: &ProofVerifier,
        revoked: RevokedTokens,
        now: UnixTime,
    ) -> Result<VerifiedToken, Rejection> {
        let token = token.as_ref();
        let verified = self.signed(&UnverifiedToken::decode(token)?, now)?;
        self.0.policy.for_us(verified.claims())?;
        let Some(key) = &verified.claims().bound_to else {
            return Err(Rejection::ProofRequired { detail: ProofError::NotBound });
        };
        if revoked == RevokedTokens::Refused {
            // A revoked session must not use up a proof.
            self.check_revoked(&verified, now)?;
        }
        proofs.check(request, token, verified.claims().session.session_id, key, now)?;
        Ok(verified)
    }

    /// Refuses a token that is known to be revoked, whatever its times.
    #[cfg(feature = "server")]
    pub(crate) fn check_revoked(&self, token: &VerifiedToken, now: UnixTime) -> Result<(), Rejection> {
        self.0.policy.not_revoked(token.key_id(), token.claims(), now)
    }

    /// Admits a token whose signature has been verified.
    ///
    /// # Errors
    /// As [`Verifier::verify`], from [`Rejection::WrongIssuer`] on.
    pub fn admit<C>(&self, token: VerifiedToken, now: UnixTime) -> Result<Session<C>, Rejection> {
        self.admissible(&token, now)?;
        Ok(self.session(Session::admitted(token)))
    }

    /// Returns the session of a token that was admitted here, able to tell when
    /// it ends.
    #[cfg_attr(
        not(any(feature = "axum", feature = "sync")),
        expect(clippy::unused_self, reason = "no runtime to wait in")
    )]
    pub(crate) fn session<C>(&self, admitted: Session<C>) -> Session<C> {
        #[cfg(any(feature = "axum", feature = "sync"))]
        let admitted = admitted.with_lifeline(&self.0.lifeline);
        admitted
    }

    /// Returns the same verifier with another clock, by which its sessions know
    /// when they have [`ended`](Session::ended). Default: the system clock.
    #[cfg(any(feature = "axum", feature = "sync"))]
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        inner.lifeline = Lifeline::new(Arc::clone(&inner.policy), inner.keys.clone(), Arc::new(clock));
        self
    }

    /// Verifies and admits one token. If the session is bound to a client's key,
    /// a proof by that key is required. A proof of an unbound session is ignored.
    ///
    /// # Errors
    /// As [`Verifier::verify`]. [`Rejection::ProofRequired`] with
    /// [the failed check](crate::proof::ProofError::as_str) for a missing or bad
    /// proof. [`Rejection::Replayed`] for a proof that was used before.
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
        self.0.policy.admit(verified.key_id(), verified.claims(), now)?;
        if let Some(key) = &verified.claims().bound_to {
            proofs.check(request, token, verified.claims().session.session_id, key, now)?;
        }
        Ok(self.session(Session::admitted(verified)))
    }

    /// Verifies only the signature of a token or a ticket.
    pub(crate) fn signed(&self, token: &UnverifiedToken, now: UnixTime) -> Result<VerifiedToken, Rejection> {
        token.verify(&self.0.keys.load(), now).inspect_err(|why| self.report_unknown_key(why))
    }

    /// Returns the issuer's lifetimes, if its feed states them.
    #[cfg(feature = "sync")]
    pub(crate) fn feed_lifetimes(&self) -> Option<FeedLifetimes> {
        match &self.0.policy.revocations {
            Revocations::Known { list, .. } => list.lifetimes(),
            Revocations::Unknown => None,
        }
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Returns the token cache's counts; `None` without a cache.
    #[must_use]
    pub fn token_cache_counts(&self) -> Option<TokenCacheCounts> {
        self.0.cache.as_deref().map(TokenCache::counts)
    }

    /// Returns the trusted keys.
    #[must_use]
    pub fn keys(&self) -> &LiveKeys {
        &self.0.keys
    }
}

/// Refuses a bound token that came without a proof.
pub(crate) const fn not_bound(token: &VerifiedToken) -> Result<(), Rejection> {
    match token.claims().bound_to {
        None => Ok(()),
        Some(_) => Err(Rejection::ProofRequired { detail: ProofError::Missing }),
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
    cache_bytes: Option<usize>,
}

impl VerifierBuilder {
    /// Admits only tokens for this audience. Without it, only tokens without an
    /// audience.
    pub fn audience(mut self, audience: impl Into<Box<str>>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Admits only tokens of this issuer. Without it, only tokens without an
    /// issuer.
    pub fn issuer(mut self, issuer: impl Into<Box<str>>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Sets the tolerated clock skew: whole seconds, at most 60.
    pub const fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Refuses what this list revokes, and everything while the list is stale. By
    /// default it is stale once its signed time is older than a token's max age, which
    /// the feed states (else 15 minutes). See [`VerifierBuilder::stale_policy`].
    pub fn revocations(mut self, list: RevocationList) -> Self {
        let stale = StalePolicy::RefuseAfterMaxAge;
        self.revocations = Some(Revocations::Known { list, stale });
        self
    }

    /// Sets what to do when the revocation list is stale. Call it after
    /// [`VerifierBuilder::revocations`].
    pub fn stale_policy(mut self, policy: StalePolicy) -> Self {
        if let Some(Revocations::Known { stale, .. }) = &mut self.revocations {
            *stale = policy;
        }
        self
    }

    /// Verifies without a revocation list: a log-out takes effect when the token
    /// expires.
    pub fn without_revocations(mut self) -> Self {
        self.revocations = Some(Revocations::Unknown);
        self
    }

    /// Caches verified tokens in at most this many bytes, at least 64 KiB.
    /// Default: 64 MiB, for about 80,000 tokens, allocated as tokens arrive.
    ///
    /// A cached token is not decoded and its signature is not checked again.
    /// Everything else is checked on every request: whether its key is still
    /// trusted, audience, issuer, lifetime and revocation.
    pub const fn token_cache(mut self, bytes: usize) -> Self {
        self.cache_bytes = Some(bytes);
        self
    }

    /// Checks the signature on every request. For tokens that are seen once, or
    /// where memory is scarce.
    pub const fn without_token_cache(mut self) -> Self {
        self.cache_bytes = None;
        self
    }

    /// # Errors
    /// [`ConfigError::Builder`] if neither [`VerifierBuilder::revocations`] nor
    /// [`VerifierBuilder::without_revocations`] was called, or if the token cache
    /// is smaller than 64 KiB. [`ConfigError::Lifetimes`] if the leeway is over
    /// 60 s.
    pub fn build(self) -> Result<Verifier, ConfigError> {
        let Some(revocations) = self.revocations else {
            return Err(ConfigError::Builder(
                "say where this verifier learns of revocations: .revocations(list) or .without_revocations()",
            ));
        };
        if self.leeway > Lifetimes::MAX_LEEWAY || self.leeway.subsec_nanos() != 0 {
            return Err(ConfigError::Lifetimes("leeway must be whole seconds, at most 60s".to_owned()));
        }
        if self.cache_bytes.is_some_and(|bytes| bytes < TokenCache::LEAST) {
            return Err(ConfigError::Builder(
                "a token cache has at least 65536 bytes; for none, say .without_token_cache()",
            ));
        }
        let cache = self.cache_bytes.map(|bytes| Arc::new(TokenCache::new(bytes)));
        let policy =
            Policy { issuer: self.issuer, audience: self.audience, leeway: self.leeway, revocations };
        let policy = Arc::new(policy);
        Ok(Verifier(Arc::new(Inner {
            #[cfg(any(feature = "axum", feature = "sync"))]
            lifeline: Lifeline::new(Arc::clone(&policy), self.keys.clone(), Arc::new(SystemClock)),
            keys: self.keys,
            policy,
            cache,
        })))
    }
}
