//! The ledger: which token of a session is the newest, and what was revoked.
//!
//! Two of them: [`MemoryLedger`], for one process without a store, and the
//! store, whose rows outlive it. Both decide by [`rule`] and pass one
//! conformance suite. Like the store, this is public for the tests alone.

mod memory;
pub mod rule;

use std::sync::Arc;

use crate::error::{Rejection, RevokedBy};
use crate::id::{KeyId, SessionId, SubjectHash};
use crate::policy::Lifetimes;
use crate::time::UnixTime;
use crate::verify::VerifiedToken;

pub use memory::{LedgerFull, MemoryLedger};
pub use rule::{Backing, Judgement, Presented, Row, SigningKeyIds};

/// One `/renew`: a verified token and what it is judged by.
#[derive(Clone, Debug)]
pub struct RenewalRequest {
    /// The session.
    pub session_id: SessionId,
    /// Whose it is, as the token says.
    pub subject: Box<str>,
    /// When the session started, as the token says.
    pub started: UnixTime,
    /// What the rule looks at.
    pub presented: Presented,
    /// The lifetimes in force.
    pub lifetimes: Lifetimes,
    /// The key that signs new tokens.
    pub newest_key: KeyId,
    /// The keys that can sign again what they signed, the newest among them.
    pub available_keys: Arc<[KeyId]>,
    /// The client's address, for the audit trail.
    pub address: Option<Box<str>>,
    /// The present.
    pub now: UnixTime,
}

impl RenewalRequest {
    /// A request that `keys` (the newest first) can answer.
    #[must_use]
    pub fn new(
        token: &VerifiedToken,
        lifetimes: &Lifetimes,
        newest_key: KeyId,
        available_keys: Arc<[KeyId]>,
        now: UnixTime,
    ) -> Self {
        let claims = token.claims();
        Self {
            session_id: claims.session.session_id,
            subject: claims.subject().into(),
            started: claims.session.started,
            presented: Presented::from(token),
            lifetimes: *lifetimes,
            newest_key,
            available_keys,
            address: None,
            now,
        }
    }

    /// The verdict on it, once no revocation meets it.
    pub(crate) fn judge(&self, row: Option<Row>, backing: Backing, withdrawn_keys: &[KeyId]) -> Judgement {
        // A token of a revoked key is of no use to anybody: never sign one again.
        let usable: Vec<KeyId>;
        let available = if withdrawn_keys.is_empty() {
            &self.available_keys[..]
        } else {
            usable =
                self.available_keys.iter().copied().filter(|key| !withdrawn_keys.contains(key)).collect();
            &usable
        };
        let keys = SigningKeyIds { newest: self.newest_key, available };
        rule::renew(row, backing, &self.presented, &self.lifetimes, keys, self.now)
    }
}

/// What came of a [`RenewalRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The token that was presented comes back.
    Keep,
    /// The token of this row is signed and answered with.
    Successor(Row),
    /// Refused.
    Refused(RenewalRefusal),
}

/// Why a renewal was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RenewalRefusal {
    /// The store has no such session.
    Unknown,
    /// Revoked before.
    Revoked {
        /// What kind of entry revoked it.
        by: RevokedBy,
    },
    /// Somebody else has used a successor of this token. The session is now
    /// revoked.
    Reuse,
    /// From the future.
    NotYetValid,
    /// The session's absolute lifetime is over.
    SessionEnded,
    /// Too old.
    Expired,
}

impl RenewalRefusal {
    /// The refusal in the terms of edges, with its facts.
    #[must_use]
    pub const fn rejection(self, token: &Presented, now: UnixTime) -> Rejection {
        match self {
            Self::Unknown | Self::Reuse => Rejection::Revoked { by: RevokedBy::Session },
            Self::Revoked { by } => Rejection::Revoked { by },
            Self::NotYetValid => Rejection::NotYetValid { issued_at: token.issued, now },
            Self::SessionEnded => Rejection::SessionEnded { ends_at: token.ends, now },
            Self::Expired => Rejection::Expired { expires_at: token.expires, now },
        }
    }
}

/// The part of a subject that revocations name.
pub(crate) fn subject_hash(request: &RenewalRequest) -> SubjectHash {
    SubjectHash::of(&request.subject)
}
