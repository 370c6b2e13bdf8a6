//! The client's public key in a proof.

use p256::ecdsa::signature::Verifier;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::proof::error::ProofError;
use crate::wire::cbor::Writer;
use crate::wire::text;

/// A public key with its one algorithm.
pub(super) enum ClientKey {
    /// ES256 (RFC 7518 §3.4).
    P256 { key: p256::ecdsa::VerifyingKey, x: [u8; 32], y: [u8; 32] },
    /// EdDSA (RFC 8037 §3.1) with Ed25519, or Ed25519 (RFC 9864 §2.2).
    Ed25519(ed25519_dalek::VerifyingKey),
}

/// The secret members of a JWK: private parts (RFC 7518 §6.2.2, §6.3.2; RFC
/// 8037 §2) and symmetric keys (§6.4.1).
const SECRET_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

impl ClientKey {
    /// Checks 5 and 7 of RFC 9449 §4.3, and the half of 6 that is about the
    /// key.
    pub(super) fn read(algorithm: &str, jwk: Option<&Map<String, Value>>) -> Result<Self, ProofError> {
        let is_p256 = match algorithm {
            "ES256" => true,
            "EdDSA" | "Ed25519" => false,
            _ => return Err(ProofError::Algorithm),
        };
        let jwk = jwk.ok_or(ProofError::Key)?;
        if SECRET_MEMBERS.iter().any(|member| jwk.contains_key(*member)) {
            return Err(ProofError::PrivateKey);
        }
        let is = |member: &str, text: &str| jwk.get(member).and_then(Value::as_str) == Some(text);
        let coordinate = |member: &str| {
            let text = jwk.get(member).and_then(Value::as_str)?;
            <[u8; 32]>::try_from(text::decode_vec(text).ok()?).ok()
        };
        let read = || {
            if is_p256 {
                if !is("kty", "EC") || !is("crv", "P-256") {
                    return None;
                }
                let (x, y) = (coordinate("x")?, coordinate("y")?);
                // SEC 1 §2.3.3, uncompressed; refused unless on the curve.
                let mut point = [4; 65];
                point[1..33].copy_from_slice(&x);
                point[33..].copy_from_slice(&y);
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok()?;
                return Some(Self::P256 { key, x, y });
            }
            if !is("kty", "OKP") || !is("crv", "Ed25519") {
                return None;
            }
            ed25519_dalek::VerifyingKey::from_bytes(&coordinate("x")?).ok().map(Self::Ed25519)
        };
        read().ok_or(ProofError::Key)
    }

    /// Returns whether this key made `signature` over `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::P256 { key, .. } => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
        }
    }

    /// The SHA-256 COSE Key Thumbprint (RFC 9679 §3): the hash of the
    /// deterministic COSE_Key with the required members alone.
    pub(super) fn thumbprint(&self) -> [u8; 32] {
        let mut w = Writer::with_capacity(80);
        match self {
            // §4.2. { 1: 2 (EC2), -1: 1 (P-256), -2: x, -3: y }
            Self::P256 { x, y, .. } => {
                w.map(4).int(1).int(2).int(-1).int(1).int(-2).bytes(x).int(-3).bytes(y);
            }
            // §4.1. { 1: 1 (OKP), -1: 6 (Ed25519), -2: x }
            Self::Ed25519(key) => {
                w.map(3).int(1).int(1).int(-1).int(6).int(-2).bytes(key.as_bytes());
            }
        }
        Sha256::digest(w.into_vec()).into()
    }
}
