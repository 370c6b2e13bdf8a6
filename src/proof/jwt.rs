//! A proof as a JWT: header, signature, claims, in this order. No claim is read
//! before the signature is checked.

use serde_json::{Map, Value};

use crate::proof::error::ProofError;
use crate::proof::json;
use crate::proof::key::ClientKey;
use crate::time::UnixTime;
use crate::wire::text;

/// Longest proof, in characters. One with a P-256 key and a long URI has about
/// 700.
pub const MAX_PROOF_CHARS: usize = 4096;

/// Longest `jti`, in bytes. RFC 9449 §11.1 lets a server refuse large ones.
const MAX_JTI_BYTES: usize = 256;

/// A proof with a valid header. Nothing in it is trusted yet.
pub(super) struct Proof<'a> {
    pub(super) key: ClientKey,
    /// The received bytes that the signature covers.
    signed: &'a [u8],
    signature: Vec<u8>,
    claims: Vec<u8>,
}

/// The signed claims of a proof.
pub(super) struct Claims {
    pub(super) jti: String,
    pub(super) htm: String,
    pub(super) htu: String,
    pub(super) iat: UnixTime,
    pub(super) ath: Option<String>,
    pub(super) nonce: Option<String>,
}

impl<'a> Proof<'a> {
    /// Checks 1, 2, 4, 5 and 7 of RFC 9449 §4.3.
    pub(super) fn read(headers: &[&'a [u8]]) -> Result<Self, ProofError> {
        let proof = match *headers {
            [] => return Err(ProofError::Missing),
            [proof] if proof.len() > MAX_PROOF_CHARS => return Err(ProofError::TooLong),
            [proof] => proof,
            [..] => return Err(ProofError::TwoHeaders),
        };
        // RFC 7515 §7.1: BASE64URL(header) '.' BASE64URL(claims) '.' BASE64URL(signature)
        let compact = core::str::from_utf8(proof).map_err(|_| ProofError::NotJwt)?;
        let (signed, signature) = compact.rsplit_once('.').ok_or(ProofError::NotJwt)?;
        let (header, claims) = signed.split_once('.').ok_or(ProofError::NotJwt)?;
        let decode = |part: &str| text::decode_vec(part).map_err(|_| ProofError::NotJwt);
        let header = json::object(&decode(header)?).ok_or(ProofError::NotJwt)?;
        Ok(Self {
            key: Self::header(&header)?,
            signed: signed.as_bytes(),
            signature: decode(signature)?,
            claims: decode(claims)?,
        })
    }

    fn header(header: &Map<String, Value>) -> Result<ClientKey, ProofError> {
        // RFC 7515 §4.1.11: unknown critical headers are refused.
        if header.contains_key("crit") {
            return Err(ProofError::NotJwt);
        }
        if header.get("typ").and_then(Value::as_str) != Some("dpop+jwt") {
            return Err(ProofError::Type);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(ProofError::Algorithm)?;
        let jwk = header.get("jwk").and_then(Value::as_object);
        ClientKey::read(algorithm, jwk)
    }

    /// Checks 6 and 3.
    pub(super) fn verify(&self) -> Result<Claims, ProofError> {
        if !self.key.verifies(self.signed, &self.signature) {
            return Err(ProofError::Signature);
        }
        Claims::read(&json::object(&self.claims).ok_or(ProofError::NotJwt)?)
    }
}

impl Claims {
    fn read(claims: &Map<String, Value>) -> Result<Self, ProofError> {
        let optional = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(ProofError::ClaimType),
        };
        let required = |name: &str| optional(name)?.ok_or(ProofError::MissingClaim);
        let jti = required("jti")?;
        if jti.is_empty() || jti.len() > MAX_JTI_BYTES {
            return Err(ProofError::ClaimType);
        }
        Ok(Self {
            jti,
            htm: required("htm")?,
            htu: required("htu")?,
            iat: time(claims.get("iat").ok_or(ProofError::MissingClaim)?)?,
            ath: optional("ath")?,
            nonce: optional("nonce")?,
        })
    }
}

/// A `NumericDate` (RFC 7519 §2), which may have a fraction.
fn time(value: &Value) -> Result<UnixTime, ProofError> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be between 0 and 2^53; the part of a second is dropped"
    )]
    let whole = |seconds: f64| (0.0..=9_007_199_254_740_992.0).contains(&seconds).then_some(seconds as u64);
    let seconds = value.as_u64().or_else(|| value.as_f64().and_then(whole));
    seconds.and_then(UnixTime::from_secs).ok_or(ProofError::ClaimType)
}
