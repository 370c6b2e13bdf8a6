//! The SQLite engine, for all processes on one machine.

mod attempts;
mod audit;
mod caps;
mod convert;
mod open;
mod revocations;
mod sessions;
mod users;
mod writer;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::TryRng;
use sqlx::Acquire as _;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use self::convert::{key_id, secs};
use self::writer::Writer;
use super::{
    Attempt, AttemptKey, AttemptRule, AuditEvent, AuditRecord, Changes, Evicted, Expired, NewUser, Revoked,
    SessionCaps, SessionRecord, Store, StoreError, Target, UnavailableKind, User,
};
use crate::error::ConfigError;
use crate::id::{KeyId, SessionId, Subject, SubjectHash};
use crate::issuer::ledger::{Outcome, RenewalRequest};
use crate::revocation::Position;
use crate::time::UnixTime;

/// Advanced settings.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Longest wait while another process writes. Default 5 s.
    pub busy_timeout: Duration,
    /// Number of connections for reading. Default 4.
    pub readers: u32,
    /// Rows in the renewal cache, some 200 bytes each. Default 50,000.
    pub cached_rows: NonZeroUsize,
    /// How often to check for writes of other processes. Default 200 ms.
    pub poll: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_secs(5),
            readers: 4,
            cached_rows: NonZeroUsize::MIN.saturating_add(49_999),
            poll: Duration::from_millis(200),
        }
    }
}

/// The store in `hallpass.db` of a data directory. Several handles and several
/// processes can use it at once.
pub struct SqliteStore {
    path: PathBuf,
    readers: SqlitePool,
    writer: Writer,
    task: JoinHandle<()>,
    position: watch::Receiver<Position>,
}

impl SqliteStore {
    /// The database's name in the data directory.
    pub const FILE: &str = open::FILE;

    /// Opens the store in `dir`, creates both if necessary, and migrates its
    /// schema. Needs a tokio runtime, which runs the writer.
    ///
    /// # Errors
    /// [`ConfigError::File`] if the directory or file can't be used, if others
    /// can read it, or if a newer hallpass wrote it.
    pub async fn open(dir: &Path) -> Result<Self, ConfigError> {
        Self::open_with(dir, SqliteOptions::default()).await
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn open_with(dir: &Path, settings: SqliteOptions) -> Result<Self, ConfigError> {
        let options = open::options(dir, settings.busy_timeout)?;
        let path = options.get_filename().to_owned();
        let fail = |error: sqlx::Error| crate::files::error(&path, StoreError::from(error));
        let mut conn = open::connect(&options, settings.busy_timeout).await?;
        let at =
            sqlx::query("SELECT epoch, sequence FROM feed_state").fetch_one(&mut conn).await.map_err(fail)?;
        let at = convert::position(&at).map_err(|error| crate::files::error(&path, error))?;
        let (publish, position) = watch::channel(at);
        let readers = SqlitePoolOptions::new()
            .max_connections(settings.readers.max(1))
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(options.pragma("query_only", "1"));
        let (writer, task) = Writer::start(conn, settings.cached_rows, settings.poll, publish);
        Ok(Self { path, readers, writer, task, position })
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finishes all calls and closes the file. Dropping does the same without
    /// waiting.
    pub async fn close(self) {
        self.readers.close().await;
        drop(self.writer);
        let _ = self.task.await;
    }

    async fn changes(&self, after: Option<Position>) -> Result<Changes, StoreError> {
        let mut conn = self.readers.acquire().await?;
        // One transaction, so that position and entries are of one moment.
        let mut tx = conn.begin().await?;
        let at = sqlx::query("SELECT epoch, sequence FROM feed_state").fetch_one(&mut *tx).await?;
        let position = convert::position(&at)?;
        let base = after
            .filter(|after| after.epoch == position.epoch && after.sequence <= position.sequence)
            .map(|after| after.sequence);
        let entries = revocations::after(&mut tx, base.unwrap_or(0)).await?;
        tx.rollback().await?;
        Ok(Changes { base, position, entries })
    }

    /// The number of accounts and devices with failed attempts, for the tests
    /// of the limits.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    #[doc(hidden)]
    pub async fn count_attempts(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM attempts").fetch_one(&self.readers).await?;
        Ok(convert::uint(count))
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SqliteStore({})", self.path.display())
    }
}

/// `self.writer.call` with the boxing that closures of futures need.
macro_rules! in_transaction {
    ($self:ident, $tx:ident, $operation:expr) => {
        $self.writer.call(move |$tx| Box::pin(async move { $operation.await })).await
    };
}

/// Sessions of subject ?1 (its hash: ?3) that can be used or renewed at ?2.
macro_rules! live {
    () => {
        "FROM sessions AS s WHERE s.subject = ?1 AND s.renewable_until > ?2
         AND s.started > coalesce((SELECT max(started_until) FROM revocations
             WHERE (kind = 1 AND target = ?3) OR (kind = 3 AND target = x'')), -1)
         AND NOT EXISTS (SELECT 1 FROM revocations WHERE kind = 0 AND target = s.id)"
    };
}

/// New entries, with the position after them.
async fn revoked(tx: &mut writer::Tx, added: u64) -> Result<Revoked, StoreError> {
    Ok(Revoked { position: revocations::current(tx).await?, added })
}

impl super::Sealed for SqliteStore {}

impl Store for SqliteStore {
    async fn add_user(&self, user: NewUser, now: UnixTime) -> Result<(), StoreError> {
        in_transaction!(self, tx, users::add(tx, &user, now))
    }

    async fn find_user(&self, name: &str) -> Result<Option<User>, StoreError> {
        let row = sqlx::query("SELECT * FROM users WHERE name = ?1")
            .bind(name)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(users::from_row).transpose()
    }

    async fn list_users(&self) -> Result<Vec<User>, StoreError> {
        let rows = sqlx::query("SELECT * FROM users ORDER BY name").fetch_all(&self.readers).await?;
        rows.iter().map(users::from_row).collect()
    }

    async fn set_password(
        &self,
        name: &Subject,
        password_hash: String,
        now: UnixTime,
    ) -> Result<Revoked, StoreError> {
        let name = name.clone();
        in_transaction!(self, tx, async {
            let added = users::set_password(tx, &name, &password_hash, now).await?;
            revoked(tx, added).await
        })
    }

    async fn rehash_password(
        &self,
        name: &Subject,
        version: u64,
        password_hash: String,
    ) -> Result<bool, StoreError> {
        let name = name.clone();
        in_transaction!(self, tx, users::rehash(tx, &name, version, &password_hash))
    }

    async fn disable_user(&self, name: &Subject, now: UnixTime) -> Result<Revoked, StoreError> {
        let name = name.clone();
        in_transaction!(self, tx, async {
            let added = users::disable(tx, &name, now).await?;
            revoked(tx, added).await
        })
    }

    async fn enable_user(&self, name: &Subject) -> Result<(), StoreError> {
        let name = name.clone();
        in_transaction!(self, tx, users::set_disabled(tx, &name, false))
    }

    async fn begin_attempt(
        &self,
        key: AttemptKey,
        is_user: bool,
        rule: AttemptRule,
        now: UnixTime,
    ) -> Result<Attempt, StoreError> {
        in_transaction!(self, tx, attempts::begin(tx, key, is_user, &rule, now))
    }

    async fn attempt_succeeded(&self, key: AttemptKey, rule: AttemptRule) -> Result<(), StoreError> {
        in_transaction!(self, tx, attempts::succeeded(tx, key, &rule))
    }

    async fn unlock_user(&self, name: &Subject) -> Result<(), StoreError> {
        if self.find_user(name.as_str()).await?.is_none() {
            return Err(StoreError::NoUser(name.to_string()));
        }
        let account = SubjectHash::of(name.as_str());
        in_transaction!(self, tx, attempts::clear(tx, account)).map(drop)
    }

    async fn secret(&self, purpose: &'static str) -> Result<[u8; 32], StoreError> {
        let mut new = Zeroizing::new([0; 32]);
        rand::rngs::SysRng
            .try_fill_bytes(&mut *new)
            .map_err(|error| StoreError::unavailable(UnavailableKind::Other, error.to_string()))?;
        in_transaction!(self, tx, users::secret(tx, purpose, &new))
    }

    async fn earliest_start(&self, subject: &Subject, now: UnixTime) -> Result<UnixTime, StoreError> {
        let until: Option<i64> = sqlx::query_scalar(
            "SELECT max(started_until) FROM revocations
             WHERE (kind = 1 AND target = ?1) OR (kind = 3 AND target = x'')",
        )
        .bind(&SubjectHash::of(subject.as_str()).as_bytes()[..])
        .fetch_one(&self.readers)
        .await?;
        let after = |until| convert::time(until).saturating_add(Duration::from_secs(1));
        Ok(until.map_or(now, |until| now.max(after(until))))
    }

    async fn insert_session(
        &self,
        session: SessionRecord,
        caps: SessionCaps,
        audit: Option<AuditEvent>,
        now: UnixTime,
    ) -> Result<Vec<Evicted>, StoreError> {
        in_transaction!(self, tx, async {
            let made = caps::make_room(tx, &session, &caps, now).await?;
            let network = caps.network.as_ref().map(|(network, _)| network.as_str());
            sessions::insert(tx, &session, network, audit.as_ref(), now).await?;
            Ok(made)
        })
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM sessions WHERE id = ?1")
            .bind(&id.as_bytes()[..])
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(convert::session).transpose()
    }

    async fn live_sessions(
        &self,
        subject: &Subject,
        now: UnixTime,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let rows = sqlx::query(concat!("SELECT s.* ", live!(), " ORDER BY s.started DESC, s.id"))
            .bind(subject.as_str())
            .bind(secs(now))
            .bind(&SubjectHash::of(subject.as_str()).as_bytes()[..])
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(convert::session).collect()
    }

    async fn renew(&self, request: RenewalRequest) -> Result<Outcome, StoreError> {
        in_transaction!(self, tx, sessions::renew(tx, &request))
    }

    async fn revoke(
        &self,
        target: Target,
        audit: Option<AuditEvent>,
        now: UnixTime,
    ) -> Result<Revoked, StoreError> {
        in_transaction!(self, tx, async {
            let added = revocations::revoke(tx, &target, now).await?;
            if let Some(event) = audit.filter(|_| added > 0) {
                audit::append(tx, &event, now).await?;
            }
            revoked(tx, added).await
        })
    }

    async fn end_replaced(&self, now: UnixTime) -> Result<Option<Revoked>, StoreError> {
        // Called every second, and there is seldom anything to write.
        let due = sqlx::query("SELECT 1 FROM replaced WHERE at <= ?1 LIMIT 1")
            .bind(secs(now))
            .fetch_optional(&self.readers)
            .await?;
        if due.is_none() {
            return Ok(None);
        }
        in_transaction!(self, tx, async {
            let added = sessions::end_replaced(tx, now).await?;
            revoked(tx, added).await.map(Some)
        })
    }

    async fn revocations_after(&self, after: Position) -> Result<Changes, StoreError> {
        self.changes(Some(after)).await
    }

    async fn snapshot(&self) -> Result<Changes, StoreError> {
        self.changes(None).await
    }

    async fn position(&self) -> Result<Position, StoreError> {
        let row = sqlx::query("SELECT epoch, sequence FROM feed_state").fetch_one(&self.readers).await?;
        convert::position(&row)
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.position.clone()
    }

    async fn bump_epoch(&self, absolute_lifetime: Duration, now: UnixTime) -> Result<Position, StoreError> {
        in_transaction!(self, tx, revocations::bump_epoch(tx, absolute_lifetime, now))
    }

    async fn append_audit(&self, event: AuditEvent, now: UnixTime) -> Result<(), StoreError> {
        in_transaction!(self, tx, audit::append(tx, &event, now))
    }

    async fn audit(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM audit WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2")
            .bind(before)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(audit::from_row).collect()
    }

    async fn expire(&self, audit_age: Duration, batch: u32, now: UnixTime) -> Result<Expired, StoreError> {
        in_transaction!(self, tx, sessions::expire(tx, now.saturating_sub(audit_age), batch, now))
    }

    async fn revoked_keys(&self) -> Result<Vec<KeyId>, StoreError> {
        let blobs: Vec<Vec<u8>> = sqlx::query_scalar("SELECT target FROM revocations WHERE kind = 2")
            .fetch_all(&self.readers)
            .await?;
        blobs.iter().map(|blob| key_id(blob)).collect()
    }
}
