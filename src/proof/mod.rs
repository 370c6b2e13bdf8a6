//! Proofs of possession (RFC 9449, "`DPoP`") for sessions that are bound to a
//! client's key: a thief can't use a stolen token without the key.
//!
//! A proof is a JWT in the `DPoP` header, signed by the client for one request.
//! This makes all twelve checks of §4.3, each with its own error
//! ([`ProofError`]). Beyond the RFC: JSON with a member twice is refused, a
//! proof has at most 4,096 characters, and a proof is accepted once
//! ([`NonceCache`]).
//!
//! Another edge refuses a used proof without a shared store, since the proof
//! names its edge: by its URI (`htu`), and, where several edges share one name,
//! by a nonce that only one of them made ([`ServerNonces`]).

mod error;
mod json;
mod jwt;
mod key;
mod nonce;
mod uri;

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::ConfigError;
use crate::id::SessionId;
use crate::replay::{NonceCache, Purpose, SingleUse};
use crate::time::UnixTime;
use crate::wire::text;

pub use self::error::{ProofError, wants_nonce};
pub use self::jwt::MAX_PROOF_CHARS;
use self::jwt::{Claims, Proof};
pub use self::nonce::ServerNonces;

/// The parts of a request that its proof is about.
#[derive(Clone, Copy)]
pub struct ProofRequest<'a> {
    /// The value of every `DPoP` header of the request.
    pub dpop: &'a [&'a [u8]],
    /// The request's method.
    pub method: &'a str,
    /// The request's absolute URI as the client wrote it: behind a proxy, the
    /// proxy's scheme and host. Query and fragment are ignored.
    pub uri: &'a str,
}

impl fmt::Debug for ProofRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProofRequest({} of {} proofs, not shown)", self.method, self.dpop.len())
    }
}

/// Checks proofs of possession. Clones share the nonces.
#[derive(Clone, Debug)]
pub struct ProofVerifier {
    nonces: NonceCache,
    server_nonces: Option<Arc<ServerNonces>>,
    max_age: Duration,
    leeway: Duration,
}

impl ProofVerifier {
    /// Default largest age of a proof.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_mins(1);
    /// Default clock skew, the same as for tokens.
    pub const DEFAULT_LEEWAY: Duration = Duration::from_secs(5);
    /// Largest clock skew that can be configured, the same as for tokens.
    pub const MAX_LEEWAY: Duration = Duration::from_mins(1);
    /// Largest age that can be configured.
    pub const LARGEST_MAX_AGE: Duration = Duration::from_mins(5);

    /// The cache of accepted proofs.
    #[must_use]
    pub const fn nonces(&self) -> &NonceCache {
        &self.nonces
    }

    /// Accepts proofs that carry a current nonce of `server_nonces`, each once.
    #[must_use]
    pub fn new(nonces: NonceCache, server_nonces: ServerNonces) -> Self {
        Self { server_nonces: Some(Arc::new(server_nonces)), ..Self::without_server_nonces(nonces) }
    }

    /// Accepts proofs by their own time alone, each once. Where several edges
    /// share one name, each accepts a proof once; and whoever can set a
    /// client's clock can make proofs in advance (RFC 9449 §11.2).
    #[must_use]
    pub const fn without_server_nonces(nonces: NonceCache) -> Self {
        let (max_age, leeway) = (Self::DEFAULT_MAX_AGE, Self::DEFAULT_LEEWAY);
        Self { nonces, server_nonces: None, max_age, leeway }
    }

    /// Sets the largest age of a proof, and the clock skew on both sides in
    /// addition.
    ///
    /// # Errors
    /// [`ConfigError::Lifetimes`] unless both are whole seconds, the age 1 s to
    /// 5 min and the leeway at most 60 s.
    pub fn window(mut self, max_age: Duration, leeway: Duration) -> Result<Self, ConfigError> {
        let whole = max_age.subsec_nanos() == 0 && leeway.subsec_nanos() == 0;
        let in_range =
            (Duration::from_secs(1)..=Self::LARGEST_MAX_AGE).contains(&max_age) && leeway <= Self::MAX_LEEWAY;
        if !whole || !in_range {
            let text = "a proof's age is 1s to 300s and its leeway at most 60s, in whole seconds";
            return Err(ConfigError::Lifetimes(text.to_owned()));
        }
        (self.max_age, self.leeway) = (max_age, leeway);
        Ok(self)
    }

    /// The value for a `DPoP-Nonce` header (RFC 9449 §8): on a refusal that
    /// [wants one](wants_nonce), and on any other response so that the client
    /// always has a current one. `None` without server nonces.
    #[must_use]
    pub fn nonce(&self, now: UnixTime) -> Option<String> {
        self.server_nonces.as_ref().map(|nonces| nonces.current(now))
    }

    /// Checks that the sender of `request` has the key that `session` is bound
    /// to, and uses the proof up. `token` is the token's text as sent,
    /// `bound_to` its `cnf`. The token must have been admitted before.
    ///
    /// # Errors
    /// The first check that fails; [`ProofError::Replayed`] and
    /// [`ProofError::Capacity`] come last. A refused proof is not used up.
    pub fn check(
        &self,
        request: &ProofRequest<'_>,
        token: impl AsRef<[u8]>,
        session: SessionId,
        bound_to: &[u8; 32],
        now: UnixTime,
    ) -> Result<(), ProofError> {
        let proof = Proof::read(request.dpop)?;
        let thumbprint = proof.key.thumbprint();
        // §4.3 check 12, second half, first: a client without the key can't
        // make us verify a signature.
        if !bool::from(thumbprint.ct_eq(bound_to)) {
            return Err(ProofError::WrongKey);
        }
        let claims = proof.verify()?;
        self.check_claims(&claims, request, now)?;
        // Check 12, first half; §4.1: "the base64url encoding of the SHA-256
        // hash of the ASCII encoding of the associated access token's value".
        let ath = text::encode(&Sha256::digest(token.as_ref()));
        match &claims.ath {
            Some(found) if *found == ath => {}
            Some(_) => return Err(ProofError::TokenHash),
            None => return Err(ProofError::MissingClaim),
        }
        self.use_up(&self.single_use(&claims, session, &thumbprint), now)
    }

    /// Checks the proof of a log-in whose session will be bound to the client's
    /// key. [`ProofVerifier::accept`] uses it up, after the credentials were
    /// checked: proofs without credentials must not fill the cache.
    ///
    /// # Errors
    /// As [`ProofVerifier::check`], and [`ProofError::TokenHash`] for a proof
    /// that names a token.
    pub fn check_log_in(&self, request: &ProofRequest<'_>, now: UnixTime) -> Result<NewBinding, ProofError> {
        let proof = Proof::read(request.dpop)?;
        let claims = proof.verify()?;
        self.check_claims(&claims, request, now)?;
        if claims.ath.is_some() {
            return Err(ProofError::TokenHash);
        }
        let thumbprint = proof.key.thumbprint();
        // There is no session yet, so the quota is the key's.
        let mut holder = [0; SessionId::LEN];
        holder.copy_from_slice(&thumbprint[..SessionId::LEN]);
        let used = self.single_use(&claims, SessionId::from_bytes(holder), &thumbprint);
        Ok(NewBinding { thumbprint, used })
    }

    /// Uses up a log-in's proof. Returns the `cnf` of the session.
    ///
    /// # Errors
    /// [`ProofError::Replayed`], [`ProofError::Capacity`].
    #[expect(clippy::needless_pass_by_value, reason = "a binding is accepted once")]
    pub fn accept(&self, binding: NewBinding, now: UnixTime) -> Result<[u8; 32], ProofError> {
        self.use_up(&binding.used, now).map(|()| binding.thumbprint)
    }

    /// Checks 8 to 11 of §4.3.
    fn check_claims(
        &self,
        claims: &Claims,
        request: &ProofRequest<'_>,
        now: UnixTime,
    ) -> Result<(), ProofError> {
        // 8. Methods are case-sensitive (RFC 9110 §9.1).
        if claims.htm != request.method {
            return Err(ProofError::Method);
        }
        // 9. "ignoring any query and fragment parts", after the normalisation
        // that the section recommends.
        let (htu, uri) = (uri::normalised(&claims.htu), uri::normalised(request.uri));
        if htu.is_none() || htu != uri {
            return Err(ProofError::Uri);
        }
        // 10.
        if let Some(nonces) = &self.server_nonces {
            let nonce = claims.nonce.as_deref().ok_or(ProofError::NonceMissing)?;
            if !nonces.is_current(nonce, now) {
                return Err(ProofError::NonceNotCurrent);
            }
        }
        // 11.
        if claims.iat > now.saturating_add(self.leeway) {
            return Err(ProofError::FromFuture);
        }
        if now >= self.until(claims) {
            return Err(ProofError::TooOld);
        }
        Ok(())
    }

    /// The first second at which a proof is too old.
    const fn until(&self, claims: &Claims) -> UnixTime {
        claims.iat.saturating_add(self.max_age).saturating_add(self.leeway)
    }

    /// The client chooses the `jti`, of any length and perhaps equal to another
    /// client's, so it is hashed with the key (§11.1).
    fn single_use(&self, claims: &Claims, session: SessionId, thumbprint: &[u8; 32]) -> SingleUse {
        let digest = Sha256::new_with_prefix(thumbprint).chain_update(&claims.jti).finalize();
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&digest[..16]);
        SingleUse { session, nonce, issued: claims.iat, until: self.until(claims) }
    }

    fn use_up(&self, used: &SingleUse, now: UnixTime) -> Result<(), ProofError> {
        self.nonces.admit(Purpose::Proof, used, self.leeway, now).map_err(|why| error::of_cache(&why))
    }
}

/// A log-in's proof that passed every check but is not used up yet.
#[derive(Debug)]
#[must_use]
pub struct NewBinding {
    thumbprint: [u8; 32],
    used: SingleUse,
}
