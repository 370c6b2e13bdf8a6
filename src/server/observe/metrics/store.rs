//! A store that times every call.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Metrics;
use crate::id::{KeyId, SessionId, Subject};
use crate::issuer::ledger::{Outcome, RenewalRequest};
use crate::issuer::store::{
    Attempt, AttemptKey, AttemptRule, AuditEvent, AuditRecord, Changes, Evicted, Expired, NewUser, Revoked,
    Sealed, SessionCaps, SessionRecord, Store, StoreError, Target, UnavailableKind, User,
};
use crate::revocation::Position;
use crate::time::UnixTime;

/// Why a store could not serve a call.
pub(super) const KINDS: &[&str] = &["busy", "disk_full", "io", "corrupt", "damaged", "closed", "other"];

/// Times another store's calls, and counts the failed ones.
pub(crate) struct Timed<S> {
    store: S,
    metrics: Metrics,
}

impl<S> Timed<S> {
    pub(crate) const fn new(store: S, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    async fn timed<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let (metrics, started) = (&*self.metrics.0, Instant::now());
        let answer = call.await;
        metrics.store.with_label_values(&[operation]).observe(started.elapsed().as_secs_f64());
        if let Err(StoreError::Unavailable { kind, .. }) = &answer {
            metrics.store_errors.with_label_values(&[name(*kind)]).inc();
        }
        answer
    }
}

const fn name(kind: UnavailableKind) -> &'static str {
    match kind {
        UnavailableKind::Busy => "busy",
        UnavailableKind::DiskFull => "disk_full",
        UnavailableKind::Io => "io",
        UnavailableKind::Corrupt => "corrupt",
        UnavailableKind::Damaged => "damaged",
        UnavailableKind::Closed => "closed",
        UnavailableKind::Other => "other",
    }
}

/// Forwards every method, timed by its name.
macro_rules! passed_on {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(async fn $name(&self, $($argument: $kind),*) -> $answer {
            self.timed(stringify!($name), self.store.$name($($argument),*)).await
        })*
    };
}

impl<S> Sealed for Timed<S> {}

impl<S: Store> Store for Timed<S> {
    passed_on! {
            add_user(user: NewUser, now: UnixTime) -> Result<(), StoreError>;
            find_user(name: &str) -> Result<Option<User>, StoreError>;
            list_users() -> Result<Vec<User>, StoreError>;
            set_password(name: &Subject, password_hash: String, now: UnixTime) -> Result<Revoked, StoreError>;
            rehash_password(name: &Subject, version: u64, password_hash: String) -> Result<bool, StoreError>;
            disable_user(name: &Subject, now: UnixTime) -> Result<Revoked, StoreError>;
            enable_user(name: &Subject) -> Result<(), StoreError>;
            begin_attempt(key: AttemptKey, is_user: bool, rule: AttemptRule, now: UnixTime) -> Result<Attempt, StoreError>;
            attempt_succeeded(key: AttemptKey, rule: AttemptRule) -> Result<(), StoreError>;
            unlock_user(name: &Subject) -> Result<(), StoreError>;
            secret(purpose: &'static str) -> Result<[u8; 32], StoreError>;
            insert_session(session: SessionRecord, caps: SessionCaps, audit: Option<AuditEvent>, now: UnixTime) -> Result<Vec<Evicted>, StoreError>;
            earliest_start(subject: &Subject, now: UnixTime) -> Result<UnixTime, StoreError>;
            find_session(id: SessionId) -> Result<Option<SessionRecord>, StoreError>;
            live_sessions(subject: &Subject, now: UnixTime) -> Result<Vec<SessionRecord>, StoreError>;
            renew(request: RenewalRequest) -> Result<Outcome, StoreError>;
            revoke(target: Target, audit: Option<AuditEvent>, now: UnixTime) -> Result<Revoked, StoreError>;
            end_replaced(now: UnixTime) -> Result<Option<Revoked>, StoreError>;
            revocations_after(after: Position) -> Result<Changes, StoreError>;
            snapshot() -> Result<Changes, StoreError>;
            position() -> Result<Position, StoreError>;
            bump_epoch(absolute_lifetime: Duration, now: UnixTime) -> Result<Position, StoreError>;
            append_audit(event: AuditEvent, now: UnixTime) -> Result<(), StoreError>;
            audit(before: Option<i64>, limit: u32) -> Result<Vec<AuditRecord>, StoreError>;
            expire(audit_age: Duration, batch: u32, now: UnixTime) -> Result<Expired, StoreError>;
            revoked_keys() -> Result<Vec<KeyId>, StoreError>;
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.store.watch()
    }
}
