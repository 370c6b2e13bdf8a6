//! The published test keys of `keys/test/`, made from public phrases.

use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};

/// Keys whose private halves are public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TestKey {
    /// Session tokens, `EdDSA` (-8).
    Session,
    /// Session tokens, Ed25519 (-19).
    Session19,
    /// The revocation feed, `EdDSA`.
    Feed,
}

impl TestKey {
    #[cfg(feature = "issuer")]
    pub(crate) const ALL: [Self; 3] = [Self::Session, Self::Session19, Self::Feed];

    /// The seed is the SHA-256 of this.
    pub(crate) const fn phrase(self) -> &'static str {
        match self {
            Self::Session => "hallpass public test key: session, EdDSA",
            Self::Session19 => "hallpass public test key: session, Ed25519",
            Self::Feed => "hallpass public test key: feed, EdDSA",
        }
    }

    pub(crate) fn seed(self) -> [u8; 32] {
        Sha256::digest(self.phrase()).into()
    }

    pub(crate) fn signing(self) -> SigningKey {
        SigningKey::from_bytes(&self.seed())
    }

    pub(crate) fn public(self) -> [u8; 32] {
        self.signing().verifying_key().to_bytes()
    }

    pub(crate) const fn alg(self) -> i64 {
        match self {
            Self::Session | Self::Feed => -8,
            Self::Session19 => -19,
        }
    }

    pub(crate) const fn jose(self) -> &'static str {
        match self {
            Self::Session | Self::Feed => "EdDSA",
            Self::Session19 => "Ed25519",
        }
    }

    #[cfg(feature = "issuer")]
    pub(crate) const fn usage(self) -> &'static str {
        match self {
            Self::Session | Self::Session19 => "session",
            Self::Feed => "feed",
        }
    }

    pub(crate) fn kid(self) -> [u8; 8] {
        thumbprint(&self.public())[..8].try_into().unwrap()
    }

    pub(crate) fn jwk(self) -> serde_json::Value {
        serde_json::json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": crate::support::raw::base64url(&self.public()),
            "kid": hex::encode(self.kid()),
            "alg": self.jose(),
            "use": "sig",
        })
    }

    /// The two session keys as a JWKS.
    pub(crate) fn session_jwks() -> serde_json::Value {
        serde_json::json!({ "keys": [Self::Session.jwk(), Self::Session19.jwk()] })
    }

    pub(crate) fn key_set() -> hallpass::KeySet {
        hallpass::KeySet::from_bytes(Self::session_jwks().to_string().as_bytes()).unwrap()
    }
}

/// The SHA-256 COSE Key Thumbprint (RFC 9679 §3), written out: the hash of
/// `{1: 1, -1: 6, -2: x}` in deterministic CBOR.
pub(crate) fn thumbprint(x: &[u8; 32]) -> [u8; 32] {
    let mut key = hex::decode("a3010120062158 20".replace(' ', "")).unwrap();
    key.extend_from_slice(x);
    Sha256::digest(&key).into()
}
