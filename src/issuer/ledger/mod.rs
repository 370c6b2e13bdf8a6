//! The ledger: which token of a session is the newest, and what was revoked.
//!
//! Two of them: [`MemoryLedger`], for one process without a store, and
//! `StoreLedger`, whose rows outlive it. Both decide by [`rule`] and pass one
//! conformance suite.

mod memory;
pub mod rule;

use std::sync::Arc;

use crate::error::{Rejection, RevokedBy};
use crate::id::{KeyId, SessionId, Subject, SubjectHash};
use crate::policy::Lifetimes;
use crate::session::Session;
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

/// Why a session could not be entered into a ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError<E> {
    /// A revocation covers the start: mint again with a later one.
    #[error("a revocation covers the session's start; it can start at {0}")]
    Revoked(UnixTime),
    /// The ledger itself failed.
    #[error(transparent)]
    Ledger(#[from] E),
}

/// Where the issuer keeps what makes renewal safe. Each call is atomic: a
/// revocation happens before a renewal, which is then refused, or after it,
/// and then meets its outcome too.
pub trait Ledger: Send + Sync {
    /// What can go wrong in the ledger itself.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The earliest start of a session of `subject` that no revocation covers:
    /// `now`, or a second after what was revoked.
    fn earliest_start(
        &self,
        subject: &Subject,
        now: UnixTime,
    ) -> impl Future<Output = Result<UnixTime, Self::Error>> + Send;

    /// Enters a session whose first token was just signed.
    fn start(
        &self,
        session: &Session,
        now: UnixTime,
    ) -> impl Future<Output = Result<(), StartError<Self::Error>>> + Send;

    /// Applies the rule to a verified token, with revocation checked in the
    /// same step.
    fn renew(&self, request: &RenewalRequest) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;

    /// Revokes a session that ends at `ends`. Whether that was news.
    fn revoke_session(
        &self,
        id: SessionId,
        ends: UnixTime,
        now: UnixTime,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Revokes every session of `subject` started so far. Whether that was news.
    fn revoke_subject(
        &self,
        subject: &Subject,
        now: UnixTime,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Revokes every session started so far. Whether that was news.
    fn revoke_all(&self, now: UnixTime) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

/// The part of a subject that revocations name.
pub(crate) fn subject_hash(request: &RenewalRequest) -> SubjectHash {
    SubjectHash::of(&request.subject)
}
