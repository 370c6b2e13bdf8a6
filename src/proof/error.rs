//! What a client learns of a refused proof.

pub use crate::error::ProofError;
use crate::error::Rejection;

/// Converts the nonce cache's error to a check of the proof.
pub(super) const fn of_cache(rejection: &Rejection) -> ProofError {
    match rejection {
        Rejection::Capacity => ProofError::Capacity,
        _ => ProofError::Replayed,
    }
}

/// Returns whether a proof was refused because it needs a server nonce: the
/// answer then says `error="use_dpop_nonce"` and carries a `DPoP-Nonce` (RFC
/// 9449 §9).
#[must_use]
pub fn wants_nonce(rejection: &Rejection) -> bool {
    matches!(rejection, Rejection::ProofRequired { detail } if detail.wants_nonce())
}
