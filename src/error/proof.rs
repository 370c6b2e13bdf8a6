//! Which check a proof of possession failed.

use serde::Serialize;

use super::Rejection;

/// Why a proof was refused; "check n" is the n-th of RFC 9449 §4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProofError {
    /// No `DPoP` header.
    #[error("there is no proof")]
    Missing,
    /// Check 1: more than one `DPoP` header.
    #[error("there are two proofs")]
    TwoHeaders,
    /// Longer than a proof may be; the rest was not read.
    #[error("the proof is longer than a proof may be")]
    TooLong,
    /// Check 2: not a well-formed JWT, or with a member twice.
    #[error("the proof is not a well-formed JWT")]
    NotJwt,
    /// Check 3: a required claim is missing.
    #[error("a claim is missing")]
    MissingClaim,
    /// Check 3: a claim of a wrong type, or out of range.
    #[error("a claim is of a wrong type or out of range")]
    ClaimType,
    /// Check 4: `typ` is not `dpop+jwt`.
    #[error("the type is not dpop+jwt")]
    Type,
    /// Check 5: `alg` is not ES256, EdDSA or Ed25519.
    #[error("the algorithm is none of ES256, EdDSA and Ed25519")]
    Algorithm,
    /// Check 6: `jwk` is missing, or not a public key for this algorithm.
    #[error("there is no public key for this algorithm")]
    Key,
    /// Check 6: the key did not sign this.
    #[error("the key did not sign this proof")]
    Signature,
    /// Check 7: `jwk` has a private or symmetric part.
    #[error("the proof gives a private key away")]
    PrivateKey,
    /// Check 8: `htm` is another method.
    #[error("the proof is for another method")]
    Method,
    /// Check 9: `htu` is another URI.
    #[error("the proof is for another URI")]
    Uri,
    /// Check 10: there is no `nonce`, and one is required.
    #[error("the proof has no nonce of this server")]
    NonceMissing,
    /// Check 10: the `nonce` is of another server or too old.
    #[error("the proof's nonce is not a current one of this server")]
    NonceNotCurrent,
    /// Check 11: `iat` is too long ago.
    #[error("the proof is too old")]
    TooOld,
    /// Check 11: `iat` is in the future.
    #[error("the proof is from the future")]
    FromFuture,
    /// Check 12: `ath` is the hash of another token.
    #[error("the proof is for another token")]
    TokenHash,
    /// Check 12: the token is bound to another key.
    #[error("the token is bound to another key")]
    WrongKey,
    /// It was used already, or may have been (§11.1).
    #[error("the proof was used already")]
    Replayed,
    /// The nonce cache is full, for this session or in all.
    #[error("the nonce cache is full")]
    Capacity,
    /// The route asks for a bound session, and this one is bound to no key.
    #[error("the session is bound to no key")]
    NotBound,
    /// The session is bound, and this service is not configured to check
    /// proofs.
    #[error("this service checks no proofs")]
    NotCheckedHere,
}

impl ProofError {
    /// The stable name, like `nonce_missing`: the detail of
    /// [`Rejection::ProofRequired`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TwoHeaders => "two_headers",
            Self::TooLong => "too_long",
            Self::NotJwt => "not_jwt",
            Self::MissingClaim => "missing_claim",
            Self::ClaimType => "claim_type",
            Self::Type => "type",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::PrivateKey => "private_key",
            Self::Method => "method",
            Self::Uri => "uri",
            Self::NonceMissing => "nonce_missing",
            Self::NonceNotCurrent => "nonce_not_current",
            Self::TooOld => "too_old",
            Self::FromFuture => "from_future",
            Self::TokenHash => "token_hash",
            Self::WrongKey => "wrong_key",
            Self::Replayed => "replayed",
            Self::Capacity => "capacity",
            Self::NotBound => "not_bound",
            Self::NotCheckedHere => "not_checked_here",
        }
    }

    /// Whether the client should try again with the nonce of the answer
    /// (`use_dpop_nonce`, RFC 9449 §9).
    #[must_use]
    pub const fn wants_nonce(self) -> bool {
        matches!(self, Self::NonceMissing | Self::NonceNotCurrent)
    }
}

impl From<ProofError> for Rejection {
    fn from(why: ProofError) -> Self {
        match why {
            ProofError::Replayed => Self::Replayed,
            ProofError::Capacity => Self::Capacity,
            _ => Self::ProofRequired { detail: why },
        }
    }
}
