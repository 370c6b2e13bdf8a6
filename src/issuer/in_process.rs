//! The issuer as a library: one process, no store, no async.

use std::num::NonZeroUsize;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{ConfigError, ProofError, Rejection};
use crate::id::{SessionId, Subject};
use crate::issuer::ledger::{LedgerFull, MemoryLedger};
use crate::issuer::mint::{IssuedToken, Minter, NewSession};
use crate::issuer::renewal::{RenewError, Renewal, SigningKeys, answer, request};
use crate::key::{KeySet, SigningKey};
use crate::policy::{Lifetimes, is_for};
use crate::time::UnixTime;
use crate::verify::{UnverifiedToken, VerifiedToken};

/// Starts, renews and revokes sessions in one process. Clones share the ledger.
///
/// The ledger is in memory; [`MemoryLedger`] describes what a restart loses.
#[derive(Clone, Debug)]
pub struct Issuer {
    keys: SigningKeys,
    public: KeySet,
    minter: Minter,
    ledger: Arc<MemoryLedger>,
}

impl Issuer {
    /// Makes an issuer that signs with `key`, without an issuer name or an audience.
    ///
    /// # Errors
    /// [`ConfigError::KeyUse`] for a feed key.
    pub fn new(key: SigningKey, lifetimes: Lifetimes) -> Result<Self, ConfigError> {
        Self::with(SigningKeys::new(key, [])?, Minter::new(lifetimes))
    }

    /// Makes an issuer with all settings.
    ///
    /// # Errors
    /// [`ConfigError`] if the keys are not a valid key set, or if the idle
    /// timeout is longer than a token's max age: sessions that rest need a
    /// store.
    pub fn with(keys: SigningKeys, minter: Minter) -> Result<Self, ConfigError> {
        let lifetimes = minter.lifetimes();
        if lifetimes.idle_timeout() != lifetimes.token_max_age() {
            return Err(ConfigError::Lifetimes(
                "an issuer without a store needs an idle_timeout equal to token_max_age".to_owned(),
            ));
        }
        let public = keys.key_set()?;
        Ok(Self { keys, public, minter, ledger: Arc::default() })
    }

    /// Replaces the ledger by an empty one of another size.
    #[must_use]
    pub fn ledger_capacity(mut self, sessions: NonZeroUsize, revocations: NonZeroUsize) -> Self {
        self.ledger = Arc::new(MemoryLedger::new(sessions, revocations));
        self
    }

    /// Returns the public keys for edges.
    #[must_use]
    pub const fn key_set(&self) -> &KeySet {
        &self.public
    }

    /// Starts a session of `subject`, who has just authenticated.
    ///
    /// # Errors
    /// [`ConfigError::Claims`] and [`ConfigError::TokenTooLong`].
    #[expect(clippy::needless_pass_by_value, reason = "callers make a subject for this call alone")]
    pub fn start<C: Serialize>(
        &self,
        subject: Subject,
        claims: C,
        now: UnixTime,
    ) -> Result<IssuedToken, ConfigError> {
        let mut started = self.ledger.earliest_start(&subject, now);
        loop {
            let new = NewSession {
                subject: &subject,
                claims: &claims,
                started,
                auth_time: now.min(started),
                ends: None,
                amr: &[],
                bound_to: None,
            };
            let token = self.minter.start(self.keys.newest(), &new, now)?;
            match self.ledger.start(token.session(), self.minter.lifetimes(), now) {
                Ok(()) => return Ok(token),
                // A revocation happened meanwhile; start after it.
                Err(later) => started = later,
            }
        }
    }

    /// Renews a token. Idempotent, also for concurrent calls.
    ///
    /// # Errors
    /// [`RenewError`]. Report [`RenewError::Reuse`] to an operator.
    pub fn renew(&self, text: &str, now: UnixTime) -> Result<Renewal, RenewError<LedgerFull>> {
        let token = self.verify(text, now)?;
        if token.claims().bound_to.is_some() {
            return Err(Rejection::ProofRequired { detail: ProofError::Missing }.into());
        }
        let request = request(&token, &self.keys, &(*self.minter.lifetimes()).into(), now);
        let outcome = self.ledger.renew(&request).map_err(RenewError::Ledger)?;
        answer(outcome, text, token, &self.keys, &request)
    }

    /// Logs out: ends the session of a token, even an expired one. Returns whether
    /// this changed anything.
    ///
    /// # Errors
    /// [`RenewError::Refused`] if the token is not this issuer's,
    /// [`RenewError::Ledger`] if there is no room.
    pub fn log_out(&self, text: &str, now: UnixTime) -> Result<bool, RenewError<LedgerFull>> {
        let token = self.verify(text, now)?;
        let session = token.claims().session;
        self.revoke_session(session.session_id, session.ends, now).map_err(RenewError::Ledger)
    }

    /// Revokes a session that ends at `ends`. Returns whether this changed anything.
    ///
    /// # Errors
    /// [`LedgerFull`]
    pub fn revoke_session(&self, id: SessionId, ends: UnixTime, now: UnixTime) -> Result<bool, LedgerFull> {
        self.ledger.revoke_session(id, ends, now)
    }

    /// Revokes every session of a subject started so far. Returns whether this
    /// changed anything.
    ///
    /// # Errors
    /// [`LedgerFull`]
    pub fn revoke_subject(&self, subject: &Subject, now: UnixTime) -> Result<bool, LedgerFull> {
        self.ledger.revoke_subject(subject, now)
    }

    /// Revokes every session started so far. Returns whether this changed anything.
    #[must_use = "false: they were revoked already"]
    pub fn revoke_all(&self, now: UnixTime) -> bool {
        self.ledger.revoke_all(now)
    }

    fn verify(&self, text: &str, now: UnixTime) -> Result<VerifiedToken, Rejection> {
        let token = UnverifiedToken::decode(text)?.verify(&self.public, now)?;
        is_for(token.claims(), self.minter.issuer_name(), self.minter.audience_name())?;
        Ok(token)
    }
}
