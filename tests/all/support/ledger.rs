//! The interface that both ledgers share, so that tests check both by one rule.

use std::future::Future;

use hallpass::issuer::ledger::{LedgerFull, MemoryLedger, Outcome, RenewalRequest};
use hallpass::issuer::{self, RenewError, SigningKeys};
use hallpass::{KeyId, Lifetimes, Renewal, Session, SessionId, Subject, UnixTime, VerifiedToken};

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
        lifetimes: &Lifetimes,
        now: UnixTime,
    ) -> impl Future<Output = Result<(), StartError<Self::Error>>> + Send;

    /// Applies the rule to a verified token, with revocation checked in the
    /// same step.
    fn renew(&self, request: &RenewalRequest) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;

    /// Revokes a session that ends at `ends`. Returns whether it was new.
    fn revoke_session(
        &self,
        id: SessionId,
        ends: UnixTime,
        now: UnixTime,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Revokes every session of `subject` started so far. Returns whether it was new.
    fn revoke_subject(
        &self,
        subject: &Subject,
        now: UnixTime,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Revokes what a key signed. Returns whether it was new.
    fn revoke_key(&self, id: KeyId, now: UnixTime) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Revokes every session started so far. Returns whether it was new.
    fn revoke_all(&self, now: UnixTime) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

impl Ledger for MemoryLedger {
    type Error = LedgerFull;

    async fn earliest_start(&self, subject: &Subject, now: UnixTime) -> Result<UnixTime, LedgerFull> {
        Ok(MemoryLedger::earliest_start(self, subject, now))
    }

    async fn start(
        &self,
        session: &Session,
        lifetimes: &Lifetimes,
        now: UnixTime,
    ) -> Result<(), StartError<LedgerFull>> {
        MemoryLedger::start(self, session, lifetimes, now).map_err(StartError::Revoked)
    }

    async fn renew(&self, request: &RenewalRequest) -> Result<Outcome, LedgerFull> {
        MemoryLedger::renew(self, request)
    }

    async fn revoke_session(&self, id: SessionId, ends: UnixTime, now: UnixTime) -> Result<bool, LedgerFull> {
        MemoryLedger::revoke_session(self, id, ends, now)
    }

    async fn revoke_subject(&self, subject: &Subject, now: UnixTime) -> Result<bool, LedgerFull> {
        MemoryLedger::revoke_subject(self, subject, now)
    }

    async fn revoke_key(&self, id: KeyId, _: UnixTime) -> Result<bool, LedgerFull> {
        Ok(MemoryLedger::revoke_key(self, id))
    }

    async fn revoke_all(&self, now: UnixTime) -> Result<bool, LedgerFull> {
        Ok(MemoryLedger::revoke_all(self, now))
    }
}

/// Renews a verified token. `text` is what it was decoded from.
///
/// Proof of possession is the caller's to check first, and so are issuer and
/// audience.
///
/// # Errors
/// As [`answer`], and [`RenewError::Ledger`].
pub async fn renew<L: Ledger>(
    ledger: &L,
    text: &str,
    token: VerifiedToken,
    keys: &SigningKeys,
    lifetimes: &Lifetimes,
    now: UnixTime,
) -> Result<Renewal, RenewError<L::Error>> {
    let request = issuer::request(&token, keys, &(*lifetimes).into(), now);
    let outcome = ledger.renew(&request).await.map_err(RenewError::Ledger)?;
    issuer::answer(outcome, text, token, keys, &request)
}
