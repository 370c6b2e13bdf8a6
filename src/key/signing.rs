//! A private key. This is the only place that creates, uses and erases one; it
//! is never printed.

use core::fmt;

use ed25519_dalek::Signer;
use ed25519_dalek::SigningKey as Ed25519Key;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes, spki::der::pem::LineEnding};
use rand::TryRng;
use zeroize::{Zeroize, Zeroizing};

use crate::error::ConfigError;
use crate::id::KeyId;
use crate::key::{Algorithm, KeyUse, VerifyingKey};

/// An Ed25519 private key with its one use and its one algorithm.
///
/// The public half is always derived from the private one and can't be passed
/// in (RUSTSEC-2022-0093). Erased from memory when dropped.
#[derive(Clone)]
pub struct SigningKey {
    usage: KeyUse,
    public: VerifyingKey,
    key: Ed25519Key,
}

impl SigningKey {
    /// Makes a key from the operating system's randomness.
    ///
    /// # Errors
    /// [`ConfigError::Randomness`] if the system gives no random bytes.
    pub fn generate(usage: KeyUse, algorithm: Algorithm) -> Result<Self, ConfigError> {
        let mut seed = Zeroizing::new([0; 32]);
        rand::rngs::SysRng
            .try_fill_bytes(&mut *seed)
            .map_err(|error| ConfigError::Randomness(error.into()))?;
        Self::from_seed(&seed, usage, algorithm)
    }

    /// Makes the key of this seed (RFC 8032 §5.1.5), for tests with known keys
    /// and for keys stored elsewhere.
    ///
    /// # Errors
    /// [`ConfigError::WeakKey`]; no such seed is known.
    pub fn from_seed(seed: &[u8; 32], usage: KeyUse, algorithm: Algorithm) -> Result<Self, ConfigError> {
        let key = Ed25519Key::from_bytes(seed);
        let public = VerifyingKey::new(key.verifying_key().as_bytes(), algorithm)?;
        Ok(Self { usage, public, key })
    }

    /// Reads PKCS#8 PEM (RFC 5958, RFC 8410).
    ///
    /// # Errors
    /// [`ConfigError::Key`] if it is not an Ed25519 private key.
    pub fn from_pkcs8_pem(pem: &str, usage: KeyUse, algorithm: Algorithm) -> Result<Self, ConfigError> {
        let bad = |_| ConfigError::Key("not an Ed25519 private key in PKCS#8 PEM".to_owned());
        let mut pair = KeypairBytes::from_pkcs8_pem(pem).map_err(bad)?;
        // Checks the public half too, if there is one.
        let key = Ed25519Key::try_from(&pair);
        // KeypairBytes erases itself only with a feature that is not enabled.
        pair.secret_key.zeroize();
        Self::from_seed(&Zeroizing::new(key.map_err(bad)?.to_bytes()), usage, algorithm)
    }

    /// Writes PKCS#8 PEM, without the public half (RFC 5958 §2, version 1):
    /// OpenSSL reads only this.
    ///
    /// # Errors
    /// [`ConfigError::Key`] if the key can't be encoded.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, ConfigError> {
        let mut pair = KeypairBytes { secret_key: self.key.to_bytes(), public_key: None };
        let pem = pair.to_pkcs8_pem(LineEnding::LF);
        pair.secret_key.zeroize();
        pem.map_err(|_| ConfigError::Key("the key can't be written as PKCS#8 PEM".to_owned()))
    }

    /// The public half's id.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.public.id()
    }

    /// What it signs.
    #[must_use]
    pub const fn usage(&self) -> KeyUse {
        self.usage
    }

    /// The one algorithm it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// The public half.
    #[must_use]
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// Ed25519 (RFC 8032 §5.1.6): deterministic, so that the same token is
    /// signed into the same bytes again.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {} {}, private half not shown)", self.usage, self.id(), self.algorithm())
    }
}

#[cfg(test)]
mod tests;
