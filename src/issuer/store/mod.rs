//! The issuer's storage: users, sessions with their ledger rows, revocations,
//! and the audit trail.
//!
//! [`Store`] is the contract, [`SqliteStore`] the engine for processes on one
//! machine. Every call is one transaction, and its changes are on disk when it
//! returns.
//!
//! This is not part of the library's API: it can change with any release, and
//! no other crate can implement [`Store`]. It is public for the tests, which
//! check every engine against one contract (`tests/all/issuer/store.rs`).

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

/// Only engines of this crate implement [`Store`], since it grows with the
/// issuer.
pub(crate) trait Sealed {}

/// The issuer's storage. `now` is always an argument.
#[expect(private_bounds, reason = "seals the trait")]
pub trait Store: Sealed + Send + Sync + 'static {
    // ---- users ----

    /// Adds a user.
    ///
    /// Errors: [`StoreError::UserExists`].
    fn add_user(&self, user: NewUser, now: UnixTime) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the user with this name.
    fn find_user(&self, name: &str) -> impl Future<Output = Result<Option<User>, StoreError>> + Send;

    /// Returns all users, by name.
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

    /// Stores another hash of the same password, with stronger settings, if the
    /// password is still that of `version`. Revokes nothing.
    fn rehash_password(
        &self,
        name: &Subject,
        version: u64,
        password_hash: String,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Disables a user and revokes the user's sessions in the same transaction.
    ///
    /// Errors: [`StoreError::NoUser`].
    fn disable_user(
        &self,
        name: &Subject,
        now: UnixTime,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Enables a disabled user. Revoked sessions stay revoked.
    ///
    /// Errors: [`StoreError::NoUser`].
    fn enable_user(&self, name: &Subject) -> impl Future<Output = Result<(), StoreError>> + Send;

    // ---- attempts ----

    /// Returns whether a password may be checked. If so, counts the attempt as
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

    /// Returns the secret of a `purpose`, which all processes on the store
    /// share. The first call makes it.
    fn secret(&self, purpose: &'static str) -> impl Future<Output = Result<[u8; 32], StoreError>> + Send;

    // ---- sessions ----

    /// Returns the earliest start of a session of `subject` that no revocation
    /// covers: `now`, or one second after the revoked starts.
    fn earliest_start(
        &self,
        subject: &Subject,
        now: UnixTime,
    ) -> impl Future<Output = Result<UnixTime, StoreError>> + Send;

    /// Inserts a session whose first token was just signed, before anybody gets
    /// the token. The transaction checks again everything that may have changed
    /// since the credentials were checked. If there are too many live sessions,
    /// it revokes older ones and returns them.
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

    /// Returns the session, even if it is revoked.
    fn find_session(
        &self,
        id: SessionId,
    ) -> impl Future<Output = Result<Option<SessionRecord>, StoreError>> + Send;

    /// Returns the subject's live sessions, newest first.
    fn live_sessions(
        &self,
        subject: &Subject,
        now: UnixTime,
    ) -> impl Future<Output = Result<Vec<SessionRecord>, StoreError>> + Send;

    /// Applies the renewal rule in one transaction, with revocation checked
    /// inside it. On
    /// [`RenewalRefusal::Reuse`](crate::issuer::ledger::RenewalRefusal::Reuse)
    /// the same transaction revokes the session and its children and writes to
    /// the audit trail.
    fn renew(&self, request: RenewalRequest) -> impl Future<Output = Result<Outcome, StoreError>> + Send;

    // ---- revocations ----

    /// Revokes; durable when it returns. What is revoked already adds no entry,
    /// and `audit` is written only with a new entry.
    fn revoke(
        &self,
        target: Target,
        audit: Option<AuditEvent>,
        now: UnixTime,
    ) -> impl Future<Output = Result<Revoked, StoreError>> + Send;

    /// Revokes the sessions that a reauthentication
    /// [replaced](SessionRecord::replaces) and that are due to end; `None` if
    /// there were none.
    fn end_replaced(&self, now: UnixTime)
    -> impl Future<Output = Result<Option<Revoked>, StoreError>> + Send;

    /// Returns the revocations after `after`, or all if that is of another
    /// epoch or from the future. Deleted ones had ended.
    fn revocations_after(&self, after: Position) -> impl Future<Output = Result<Changes, StoreError>> + Send;

    /// Returns all live revocations.
    fn snapshot(&self) -> impl Future<Output = Result<Changes, StoreError>> + Send;

    /// Returns the epoch and the number of its last revocation.
    fn position(&self) -> impl Future<Output = Result<Position, StoreError>> + Send;

    /// Receives new positions: this process's at once, those of others soon.
    fn watch(&self) -> watch::Receiver<Position>;

    /// Begins a higher epoch, after a backup was restored: edges that know more
    /// than the backup then take a snapshot.
    ///
    /// Sessions started after the backup are unknown to it and end within
    /// `absolute_lifetime`; revocations after it are lost, so revoke everything
    /// next.
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

    /// Returns the newest `limit` events, newest first; only those before the
    /// event numbered `before` if that is given.
    fn audit(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<AuditRecord>, StoreError>> + Send;

    /// Deletes at most `batch` of each: sessions and revocations whose end is a
    /// minute past, audit events older than `audit_age`. Call it again until it
    /// deleted less.
    fn expire(
        &self,
        audit_age: Duration,
        batch: u32,
        now: UnixTime,
    ) -> impl Future<Output = Result<Expired, StoreError>> + Send;

    /// Returns the kids of revoked keys.
    fn revoked_keys(&self) -> impl Future<Output = Result<Vec<KeyId>, StoreError>> + Send;
}
