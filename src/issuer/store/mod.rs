//! What the login service must not forget: users, sessions with their ledger
//! rows, revocations, and the audit trail.
//!
//! [`Store`] is the contract, [`SqliteStore`] the engine for processes on one
//! machine. Every call is one transaction, and what it changed is on disk when
//! it returns.
//!
//! None of this is part of the library's API: it changes with any release, and
//! nobody else can implement [`Store`]. It is public for the tests, which hold
//! every engine to one contract (`tests/all/issuer/store.rs`).

mod error;
mod limits;
mod records;
mod sqlite;

use std::time::Duration;

use tokio::sync::watch;

use crate::id::{KeyId, SessionId, Subject};
use crate::issuer::ledger::{Outcome, RenewalRequest};
use crate::revocation::Position;
use crate::time::UnixTime;

pub use error::{StoreError, UnavailableKind};
pub use limits::{Attempt, AttemptKey, AttemptRule, Cap, CapScope, DeviceId, Evicted, SessionCaps, WhenFull};
pub use records::{
    AuditEvent, AuditRecord, Changes, Expired, NewUser, Revoked, Role, SessionRecord, Target, User,
};
pub use sqlite::{SqliteOptions, SqliteStore};

/// Only engines of this crate implement [`Store`]: what an issuer asks of it
/// grows with the issuer.
pub(crate) trait Sealed {}

/// The issuer's storage. `now` is always an argument.
#[expect(private_bounds, reason = "seals the trait")]
pub trait Store: Sealed + Send + Sync + 'static {
    // ---- users ----

    /// Adds a user.
    ///
    /// Errors: [`StoreError::UserExists`].
    fn add_user(&self, user: NewUser, now: UnixTime) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The user of this name.
    fn find_user(&self, name: &str) -> impl Future<Output = Result<Option<User>, StoreError>> + Send;

    /// All users, by name.
    fn list_users(&self) -> impl Future<Output = Result<Vec<User>, StoreError>> + Send;

    /// Changes a password, and revokes the user's sessions in the same
    /// transaction.
    ///
    /// Errors: [`StoreError::NoUser`].
    fn set_password(
        &self,
        name: &Subject,
        password_hash: String,
        now: UnixTime,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Stores another hash of the same password (of stronger settings), if the
    /// password is still that of `version`. Revokes nothing.
    fn rehash_password(
        &self,
        name: &Subject,
        version: u64,
        password_hash: String,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Keeps a user from logging in, and revokes the user's sessions in the
    /// same transaction.
    ///
    /// Errors: [`StoreError::NoUser`].
    fn disable_user(
        &self,
        name: &Subject,
        now: UnixTime,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Lets a disabled user log in again. Sessions that were revoked stay so.
    ///
    /// Errors: [`StoreError::NoUser`].
    fn enable_user(&self, name: &Subject) -> impl Future<Output = Result<(), StoreError>> + Send;

    // ---- attempts ----

    /// Whether a password may be looked at; if so, the attempt is counted as
    /// failed already.
    fn begin_attempt(
        &self,
        key: AttemptKey,
        is_user: bool,
        rule: AttemptRule,
        now: UnixTime,
    ) -> impl Future<Output = Result<Attempt, StoreError>> + Send;

    /// The password of this attempt was right: the account's failures are
    /// forgotten. From a known device strangers' failures are not, but no
    /// longer lock the account: see [`AttemptRule::slowest_after`].
    fn attempt_succeeded(
        &self,
        key: AttemptKey,
        rule: AttemptRule,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets an account's failures, as [`Store::set_password`] does too.
    ///
    /// Errors: [`StoreError::NoUser`].
    fn unlock_user(&self, name: &Subject) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A secret that every process on the store has and nobody else: made when
    /// first asked for. Another `purpose` has another.
    fn secret(&self, purpose: &'static str) -> impl Future<Output = Result<[u8; 32], StoreError>> + Send;

    // ---- sessions ----

    /// The earliest start of a session of `subject` that no revocation covers:
    /// `now`, or a second after what was revoked.
    fn earliest_start(
        &self,
        subject: &Subject,
        now: UnixTime,
    ) -> impl Future<Output = Result<UnixTime, StoreError>> + Send;

    /// Enters a session whose first token was just signed, before it is given
    /// to anybody. Everything that could have changed since the credentials
    /// were checked is checked again in the transaction.
    /// If there are too many live sessions, older ones are revoked in the same
    /// transaction, and come back.
    ///
    /// Errors: [`StoreError::StartRevoked`] if a revocation covers its start
    /// (mint again with a later one), [`StoreError::UserChanged`] if the user
    /// was disabled or the password changed meanwhile,
    /// [`StoreError::ParentOver`] if the parent is revoked, ended, or ends
    /// before it,
    /// [`StoreError::SessionsExceeded`] if there are too many and `caps` ends none.
    fn insert_session(
        &self,
        session: SessionRecord,
        caps: SessionCaps,
        audit: Option<AuditEvent>,
        now: UnixTime,
    ) -> impl Future<Output = Result<Vec<Evicted>, StoreError>> + Send;

    /// The session, also one that was revoked.
    fn find_session(
        &self,
        id: SessionId,
    ) -> impl Future<Output = Result<Option<SessionRecord>, StoreError>> + Send;

    /// The subject's live sessions, the newest first.
    fn live_sessions(
        &self,
        subject: &Subject,
        now: UnixTime,
    ) -> impl Future<Output = Result<Vec<SessionRecord>, StoreError>> + Send;

    /// Applies the renewal rule in one transaction, with revocation checked
    /// inside it. On [`RenewalRefusal::Reuse`](crate::issuer::ledger::RenewalRefusal::Reuse)
    /// the session is revoked, and its children, and the audit trail says so,
    /// in that same transaction.
    fn renew(&self, request: RenewalRequest) -> impl Future<Output = Result<Outcome, StoreError>> + Send;

    // ---- revocations ----

    /// Revokes; durable when it returns. Revoking what is revoked adds nothing,
    /// and `audit` is written only if something was added.
    fn revoke(
        &self,
        target: Target,
        audit: Option<AuditEvent>,
        now: UnixTime,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Revokes sessions that a reauthentication has
    /// [replaced](SessionRecord::replaces) and whose time has come; `None` if
    /// there were none.
    fn end_replaced(&self, now: UnixTime)
    -> impl Future<Output = Result<Option<Revoked>, StoreError>> + Send;

    /// What was revoked after `after`; all there is if that is of another
    /// epoch or from the future. What was forgotten since has ended.
    fn revocations_after(&self, after: Position) -> impl Future<Output = Result<Changes, StoreError>> + Send;

    /// Every revocation that still matters.
    fn snapshot(&self) -> impl Future<Output = Result<Changes, StoreError>> + Send;

    /// The epoch, and the number of the last revocation in it.
    fn position(&self) -> impl Future<Output = Result<Position, StoreError>> + Send;

    /// Is told of new positions: of this process at once, of others soon.
    fn watch(&self) -> watch::Receiver<Position>;

    /// Begins a higher epoch: after a backup was restored, so that edges that
    /// know more than it drop that and take a snapshot.
    ///
    /// Sessions started after the backup are unknown to it and end within
    /// `absolute_lifetime`; what was revoked after it is not revoked any more,
    /// so revoke everything next.
    fn bump_epoch(
        &self,
        absolute_lifetime: Duration,
        now: UnixTime,
    ) -> impl Future<Output = Result<Position, StoreError>> + Send;

    // ---- audit trail, expiry ----

    /// Appends to the audit trail.
    fn append_audit(
        &self,
        event: AuditEvent,
        now: UnixTime,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The newest `limit` events, the newest first; those before the event
    /// numbered `before` if one is given.
    fn audit(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<AuditRecord>, StoreError>> + Send;

    /// Deletes at most `batch` of each: sessions and revocations whose end is a
    /// minute past, audit events older than `audit_age`. Call it again until it
    /// says that there was less to do.
    fn expire(
        &self,
        audit_age: Duration,
        batch: u32,
        now: UnixTime,
    ) -> impl Future<Output = Result<Expired, StoreError>> + Send;

    /// The kids of revoked keys.
    fn revoked_keys(&self) -> impl Future<Output = Result<Vec<KeyId>, StoreError>> + Send;
}
