//! A public key with its use and algorithm.

use core::fmt;

use sha2::{Digest, Sha256};

use crate::error::ConfigError;
use crate::id::KeyId;
use crate::key::Algorithm;
use crate::key::fixed::{self, FixedKey, WeakOrInvalid};
use crate::time::UnixTime;
use crate::wire::cbor::Writer;

/// An Ed25519 public key that verifies with one algorithm.
#[derive(Clone)]
pub struct VerifyingKey {
    id: KeyId,
    algorithm: Algorithm,
    retires: Option<UnixTime>,
    key: FixedKey,
}

impl VerifyingKey {
    /// Makes the key with these 32 bytes (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// [`ConfigError::Key`] if the bytes are not a point of the curve,
    /// [`ConfigError::WeakKey`] if the point is of small order.
    pub fn new(bytes: &[u8; 32], algorithm: Algorithm) -> Result<Self, ConfigError> {
        let id = key_id(bytes);
        let invalid = || ConfigError::Key("the 32 bytes are no Ed25519 public key".to_owned());
        if !y_is_reduced(bytes) {
            return Err(invalid());
        }
        let key = FixedKey::new(bytes).map_err(|why| match why {
            WeakOrInvalid::Invalid => invalid(),
            WeakOrInvalid::Weak => ConfigError::WeakKey(id),
        })?;
        Ok(Self { id, algorithm, retires: None, key })
    }

    /// The same key, which is rejected from `at` on.
    #[must_use]
    pub const fn retiring(mut self, at: Option<UnixTime>) -> Self {
        self.retires = at;
        self
    }

    /// First 8 bytes of the key's thumbprint.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The one algorithm it verifies with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The time from which its signatures are rejected.
    #[must_use]
    pub const fn retires(&self) -> Option<UnixTime> {
        self.retires
    }

    /// The public key's 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.key.encoding()
    }

    /// For tests: a key with another key's kid, which would take about 2^64
    /// tries to make.
    #[cfg(test)]
    #[cfg(feature = "issuer")]
    pub(crate) fn with_id(self, id: KeyId) -> Self {
        Self { id, ..self }
    }

    /// The same key, prepared to verify many tokens: 660 KB of tables, if that
    /// is faster on this machine.
    pub(crate) fn prepared(mut self) -> Self {
        self.key = self.key.with_table();
        self
    }

    /// Returns whether this key made `signature` over `message`, with the
    /// acceptance set of `verify_strict`: canonical s, R compared as bytes,
    /// neither R nor the key of small order, so that a signature has one
    /// spelling (RFC 8032 §5.1.7 leaves room for several).
    #[must_use]
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify(message, signature)
    }

    /// [`VerifyingKey::verifies`] for many signatures, faster together.
    pub(crate) fn verify_many(signed: &[(&Self, &[u8], &[u8; 64])]) -> Vec<bool> {
        let items: Vec<_> =
            signed.iter().map(|(key, message, signature)| (&key.key, *message, *signature)).collect();
        let mut verdicts = vec![false; items.len()];
        fixed::verify_many(&items, &mut verdicts);
        verdicts
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
            && self.algorithm == other.algorithm
            && self.retires == other.retires
    }
}

impl Eq for VerifyingKey {}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({} {})", self.id, self.algorithm)
    }
}

/// RFC 8032 §5.1.3: "If the resulting value is >= p, decoding fails", which
/// ed25519-dalek does not check. Otherwise one key would have two encodings and
/// two kids. p = 2^255 − 19; the last bit is the sign of x.
fn y_is_reduced(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    high & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff) || *low < 0xed
}

/// The first 8 bytes of the SHA-256 COSE Key Thumbprint (RFC 9679 §3 and §4.1):
/// the hash of the deterministic COSE_Key with kty, crv and x alone.
fn key_id(x: &[u8; 32]) -> KeyId {
    let mut writer = Writer::with_capacity(40);
    // { 1: 1 (OKP), -1: 6 (Ed25519), -2: x }
    writer.map(3).int(1).int(1).int(-1).int(6).int(-2).bytes(x);
    let digest = Sha256::digest(writer.into_vec());
    let mut id = [0; KeyId::LEN];
    id.copy_from_slice(&digest[..KeyId::LEN]);
    KeyId::from_bytes(id)
}

#[cfg(test)]
mod tests;
