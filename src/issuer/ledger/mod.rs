//! The ledger records the newest token of each session, and revocations.
//!
//! There are two: [`MemoryLedger`], for one process without a store, and the store.
//! Both decide by [`rule`] and pass one conformance suite. Like the store, this
//! module is public only for the tests.

mod memory;
pub mod rule;

use std::sync::Arc;

use crate::error::{Rejection, RevokedBy};
use crate::id::{KeyId, SessionId, SubjectHash};
use crate::policy::{Profile, Profiles};
use crate::time::UnixTime;
use crate::verify::VerifiedToken;

pub use memory::{LedgerFull, MemoryLedger};
pub use rule::{Backing, Judgement, Presented, Row, SigningKeyIds};

/// A renewal request: a verified token and everything the decision needs.
#[derive(Clone, Debug)]
pub struct RenewalRequest {
    /// The session.
    pub session_id: SessionId,
    /// The subject, from the token.
    pub subject: Box<str>,
    /// When the session started, from the token.
    pub started: UnixTime,
    /// The token's facts that the rule uses.
    pub presented: Presented,
    /// The lifetimes in force.
    pub lifetimes: Profiles,
    /// The key that signs new tokens.
    pub newest_key: KeyId,
    /// The keys that can repeat a signature, including the newest.
    pub available_keys: Arc<[KeyId]>,
    /// The client's address, for the audit trail.
    pub address: Option<Box<str>>,
    /// The current time.
    pub now: UnixTime,
}

impl RenewalRequest {
    /// Makes a request that `keys` (newest first) can answer.
    #[must_use]
    pub fn new(
        token: &VerifiedToken,
        lifetimes: &Profiles,
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

    /// Decides, after revocation was checked.
    pub(crate) fn judge(&self, row: Option<Row>, backing: Backing, withdrawn_keys: &[KeyId]) -> Judgement {
        // A token of a revoked key is refused everywhere, so never sign one again.
        let usable: Vec<KeyId>;
        let available = if withdrawn_keys.is_empty() {
            &self.available_keys[..]
        } else {
            usable =
                self.available_keys.iter().copied().filter(|key| !withdrawn_keys.contains(key)).collect();
            &usable
        };
        let keys = SigningKeyIds { newest: self.newest_key, available };
        let lifetimes = self.lifetimes.of(row.map_or(Profile::Standard, |row| row.profile));
        rule::renew(row, backing, &self.presented, lifetimes, keys, self.now)
    }
}

/// The outcome of a [`RenewalRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Answer with the presented token; this is its row.
    Keep(Row),
    /// Sign the token of this row and answer with it.
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
    /// It was revoked earlier.
    Revoked {
        /// What kind of entry revoked it.
        by: RevokedBy,
    },
    /// Somebody else has used a successor of this token. The session is now
    /// revoked.
    Reuse,
    /// Issued in the future.
    NotYetValid,
    /// The session's absolute lifetime is over.
    SessionEnded,
    /// The token has expired.
    Expired,
}

impl RenewalRefusal {
    /// Converts it to the rejection that edges use, with its facts.
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

/// Returns the subject's hash, which revocations use.
pub(crate) fn subject_hash(request: &RenewalRequest) -> SubjectHash {
    SubjectHash::of(&request.subject)
}
