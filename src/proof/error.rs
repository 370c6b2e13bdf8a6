//! What a refused proof means to its client.

pub use crate::error::ProofError;
use crate::error::Rejection;

/// What the nonce cache says, as a check of the proof.
pub(super) const fn of_cache(rejection: &Rejection) -> ProofError {
    match rejection {
        Rejection::Capacity => ProofError::Capacity,
        _ => ProofError::Replayed,
    }
}

/// Whether a refusal is for want of a server nonce: the answer then says
/// `error="use_dpop_nonce"` and carries a `DPoP-Nonce` (RFC 9449 §9).
#[must_use]
pub fn wants_nonce(rejection: &Rejection) -> bool {
    matches!(rejection, Rejection::ProofRequired { detail } if detail.wants_nonce())
}
