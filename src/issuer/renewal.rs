//! A renewal, from the verified token to the answer, for any ledger.

use std::sync::Arc;

use crate::error::{ConfigError, Rejection};
use crate::id::{KeyId, SessionId};
use crate::issuer::ledger::{Outcome, RenewalRefusal, RenewalRequest};
use crate::issuer::mint::{IssuedToken, Minter};
use crate::key::{KeySet, KeyUse, SigningKey};
use crate::policy::Profiles;
use crate::time::UnixTime;
use crate::verify::VerifiedToken;

/// The session keys of an issuer. The newest signs. Older ones repeat their own
/// signatures, so that a lost answer can be repeated after a rotation.
#[derive(Clone, Debug)]
pub struct SigningKeys {
    keys: Arc<[SigningKey]>,
    ids: Arc<[KeyId]>,
}

impl SigningKeys {
    /// Makes the set of keys of which `newest` signs.
    ///
    /// # Errors
    /// [`ConfigError::KeyUse`] if one is a feed key, [`ConfigError::DuplicateKey`].
    pub fn new(newest: SigningKey, older: impl IntoIterator<Item = SigningKey>) -> Result<Self, ConfigError> {
        let keys: Arc<[SigningKey]> = std::iter::once(newest).chain(older).collect();
        for (at, key) in keys.iter().enumerate() {
            if key.usage() != KeyUse::Session {
                let found = key.usage();
                return Err(ConfigError::KeyUse { key: key.id(), found, wanted: KeyUse::Session });
            }
            if keys[..at].iter().any(|other| other.id() == key.id()) {
                return Err(ConfigError::DuplicateKey(key.id()));
            }
        }
        let ids = keys.iter().map(SigningKey::id).collect();
        Ok(Self { keys, ids })
    }

    /// Returns the key that signs new tokens.
    #[must_use]
    pub fn newest(&self) -> &SigningKey {
        // `new` guarantees at least one.
        &self.keys[0]
    }

    /// Returns the key with this id.
    #[must_use]
    pub fn get(&self, id: KeyId) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.id() == id)
    }

    /// Returns the ids, newest first.
    #[must_use]
    pub fn ids(&self) -> &[KeyId] {
        &self.ids
    }

    /// Returns the public keys.
    ///
    /// # Errors
    /// Only those of [`SigningKeys::new`].
    pub fn key_set(&self) -> Result<KeySet, ConfigError> {
        KeySet::new(self.keys.iter().map(|key| key.verifying_key().clone()))
    }
}

/// The answer to a renewal.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Renewal {
    /// Whether the token differs from the presented one.
    pub renewed: bool,
    /// The token to use from now on.
    pub token: IssuedToken,
}

/// Why a renewal failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError<E> {
    /// The token is refused.
    #[error(transparent)]
    Refused(#[from] Rejection),
    /// Somebody else uses a successor of the token. The session is now revoked. Report
    /// this anomaly (`authn_token_reuse`).
    #[error("session {id:?} was revoked: a token of it was used after its successor")]
    Reuse {
        /// The session.
        id: SessionId,
    },
    /// The ledger failed. Nothing was renewed; a retry is safe.
    #[error("the ledger failed: {0}")]
    Ledger(#[source] E),
    /// The successor can't be signed.
    #[error("the successor can't be signed: {0}")]
    Mint(#[source] ConfigError),
}

/// Makes the request for the ledger.
#[must_use]
pub fn request(
    token: &VerifiedToken,
    keys: &SigningKeys,
    lifetimes: &Profiles,
    now: UnixTime,
) -> RenewalRequest {
    RenewalRequest::new(token, lifetimes, keys.newest().id(), Arc::clone(&keys.ids), now)
}

/// Converts the ledger's outcome to an answer. `text` is the presented token.
///
/// # Errors
/// [`RenewError::Refused`], [`RenewError::Reuse`], [`RenewError::Mint`].
pub fn answer<E>(
    outcome: Outcome,
    text: &str,
    token: VerifiedToken,
    keys: &SigningKeys,
    request: &RenewalRequest,
) -> Result<Renewal, RenewError<E>> {
    match outcome {
        Outcome::Keep(row) => {
            Ok(Renewal { renewed: false, token: IssuedToken::kept(text, token, row.renewable_until) })
        }
        Outcome::Successor(row) => {
            let key = keys.get(row.key_id).ok_or_else(|| {
                RenewError::Mint(ConfigError::Key(format!("key {} is not here to sign with", row.key_id)))
            })?;
            Minter::successor(key, &token, row.generation, row.issued, row.expires)
                .map(|token| Renewal { renewed: true, token: token.renewable(row.renewable_until) })
                .map_err(RenewError::Mint)
        }
        Outcome::Refused(RenewalRefusal::Reuse) => Err(RenewError::Reuse { id: request.session_id }),
        Outcome::Refused(refusal) => Err(refusal.rejection(&request.presented, request.now).into()),
    }
}
