//! Revocations: writing them, and finding those that cover a session.

use crate::error::RevokedBy;
use std::collections::HashSet;
use std::time::Duration;

use sqlx::Row as _;

use super::convert::{entry, int, key_id, position, secs, session_id, time};
use super::writer::Tx;
use crate::id::{KeyId, SessionId, Subject, SubjectHash};
use crate::issuer::store::{StoreError, Target};
use crate::policy::Lifetimes;
use crate::revocation::{Entry, KEPT_PAST_END, Position};
use crate::time::UnixTime;

/// The stored numbers of the kinds, the same as in the feed.
mod kind {
    pub(super) const SESSION: i64 = 0;
    pub(super) const SUBJECT: i64 = 1;
    pub(super) const KEY: i64 = 2;
    pub(super) const ALL: i64 = 3;
}

/// A log-in after a revocation in the same second starts a second later, so a
/// start may be a little ahead of the clock. One that is further ahead was made
/// by a wrong clock, and gets an entry of its own: a subject entry would keep
/// its user out until then.
const AHEAD: Duration = Lifetimes::MAX_LEEWAY;

/// Revokes `target`. Returns the number of new entries.
pub(super) async fn revoke(tx: &mut Tx, target: &Target, now: UnixTime) -> Result<u64, StoreError> {
    match target {
        Target::Session { id, ends } => session(tx, *id, *ends, now).await,
        Target::Family { id, ends } => {
            let root = root(tx, *id).await?;
            let ends = if root == *id { *ends } else { None };
            session(tx, root, ends, now).await
        }
        Target::OtherSessions { subject, except } => others(tx, subject, *except, now).await,
        Target::Subject(subject) => started_so_far(tx, Some(subject), now).await,
        Target::All => started_so_far(tx, None, now).await,
        Target::Key(id) => key(tx, *id).await,
    }
}

/// A stored session's facts that decide whether it is revoked.
struct Known {
    id: SessionId,
    subject: SubjectHash,
    started: UnixTime,
    ends: UnixTime,
}

impl Known {
    fn read(row: &sqlx::sqlite::SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: session_id(row.try_get("id")?)?,
            subject: SubjectHash::of(row.try_get("subject")?),
            started: time(row.try_get("started")?),
            ends: time(row.try_get("ends")?),
        })
    }
}

/// Revokes the session and all its descendants.
async fn family(tx: &mut Tx, id: SessionId) -> Result<Vec<Known>, StoreError> {
    sqlx::query(
        "WITH RECURSIVE family (id, subject, started, ends) AS (
             SELECT id, subject, started, ends FROM sessions WHERE id = ?1 OR parent = ?1
             UNION
             SELECT child.id, child.subject, child.started, child.ends
             FROM family JOIN sessions AS child ON child.parent = family.id
         ) SELECT id, subject, started, ends FROM family",
    )
    .bind(&id.as_bytes()[..])
    .fetch_all(tx.read())
    .await?
    .iter()
    .map(Known::read)
    .collect()
}

async fn session(
    tx: &mut Tx,
    id: SessionId,
    ends: Option<UnixTime>,
    now: UnixTime,
) -> Result<u64, StoreError> {
    let family = family(tx, id).await?;
    let mut added = 0;
    if !family.iter().any(|member| member.id == id) && !has(tx, kind::SESSION, id.as_bytes()).await? {
        // An unknown session may last as long as a session can.
        let ends = ends.unwrap_or_else(|| now.saturating_add(Lifetimes::MAX_ABSOLUTE));
        added += add_session(tx, id, ends, now).await?;
    }
    for member in family {
        if find(tx, member.id, member.subject, member.started).await?.is_none() {
            added += add_session(tx, member.id, member.ends, now).await?;
        }
    }
    Ok(added)
}

async fn add_session(tx: &mut Tx, id: SessionId, ends: UnixTime, now: UnixTime) -> Result<u64, StoreError> {
    let entry = Entry::Session { sid: id, ends };
    if entry.is_over(now) {
        return Ok(0);
    }
    add(tx, &entry).await?;
    tx.rows.pop(&id);
    Ok(1)
}

/// Returns the root of the family of `id`.
pub(super) async fn root(tx: &mut Tx, id: SessionId) -> Result<SessionId, StoreError> {
    let mut root = id;
    let mut seen = HashSet::from([root]);
    loop {
        let parent: Option<Option<Vec<u8>>> = sqlx::query_scalar("SELECT parent FROM sessions WHERE id = ?1")
            .bind(&root.as_bytes()[..])
            .fetch_optional(tx.read())
            .await?;
        let Some(parent) = parent.flatten() else { return Ok(root) };
        root = session_id(&parent)?;
        if !seen.insert(root) {
            return Ok(root);
        }
    }
}

/// Revokes all but `except`, its descendants and its ancestors.
async fn others(tx: &mut Tx, subject: &Subject, except: SessionId, now: UnixTime) -> Result<u64, StoreError> {
    let root = root(tx, except).await?;
    let mut seen = HashSet::from([except, root]);
    seen.extend(family(tx, root).await?.iter().map(|member| member.id));
    let all = sqlx::query("SELECT id, subject, started, ends FROM sessions WHERE subject = ?1")
        .bind(subject.as_str())
        .fetch_all(tx.read())
        .await?;
    let mut added = 0;
    for row in &all {
        let other = Known::read(row)?;
        if !seen.contains(&other.id) {
            added += session(tx, other.id, Some(other.ends), now).await?;
        }
    }
    Ok(added)
}

/// Revokes the started sessions of a subject, or of everybody.
async fn started_so_far(tx: &mut Tx, subject: Option<&Subject>, now: UnixTime) -> Result<u64, StoreError> {
    let horizon = secs(now.saturating_add(AHEAD));
    let name = subject.map(Subject::as_str);
    let newest: Option<i64> = match name {
        Some(name) => {
            sqlx::query_scalar("SELECT max(started) FROM sessions WHERE subject = ?1 AND started <= ?2")
                .bind(name)
                .bind(horizon)
                .fetch_one(tx.read())
                .await?
        }
        None => {
            sqlx::query_scalar("SELECT max(started) FROM sessions WHERE started <= ?1")
                .bind(horizon)
                .fetch_one(tx.read())
                .await?
        }
    };
    let until = newest.map_or(now, |newest| now.max(time(newest)));
    let hash = subject.map(|subject| SubjectHash::of(subject.as_str()));
    let mut added = 0;
    if last_revoked_start(tx, hash).await? < Some(until) {
        let last_end: i64 =
            sqlx::query_scalar("SELECT last_end FROM feed_state").fetch_one(tx.read()).await?;
        let ends = time(last_end).max(until);
        let entry = match hash {
            Some(hash) => Entry::Subject { hash, up_to: until, ends },
            None => Entry::All { up_to: until, ends },
        };
        add(tx, &entry).await?;
        tx.rows.clear();
        added += 1;
    }
    let ahead = sqlx::query(
        "SELECT id, ends FROM sessions WHERE started > ?2 AND (?1 IS NULL OR subject = ?1) AND ends > ?3",
    )
    .bind(name)
    .bind(horizon)
    .bind(secs(now))
    .fetch_all(tx.read())
    .await?;
    for row in &ahead {
        let (id, ends) = (session_id(row.try_get("id")?)?, time(row.try_get("ends")?));
        added += session(tx, id, Some(ends), now).await?;
    }
    Ok(added)
}

/// Kept for good: a thief of the key can sign any `ends`.
async fn key(tx: &mut Tx, id: KeyId) -> Result<u64, StoreError> {
    if has(tx, kind::KEY, id.as_bytes()).await? {
        return Ok(0);
    }
    add(tx, &Entry::Key { kid: id, ends: UnixTime::MAX }).await?;
    tx.forget();
    Ok(1)
}

async fn has(tx: &mut Tx, kind: i64, target: &[u8]) -> Result<bool, StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM revocations WHERE kind = ?1 AND target = ?2")
        .bind(kind)
        .bind(target)
        .fetch_optional(tx.read())
        .await?;
    Ok(found.is_some())
}

/// Writes an entry with the next number.
async fn add(tx: &mut Tx, entry: &Entry) -> Result<(), StoreError> {
    let (kind, target, until) = match entry {
        Entry::Session { sid, .. } => (kind::SESSION, sid.as_bytes().to_vec(), None),
        Entry::Subject { hash, up_to, .. } => (kind::SUBJECT, hash.as_bytes().to_vec(), Some(*up_to)),
        Entry::Key { kid, .. } => (kind::KEY, kid.as_bytes().to_vec(), None),
        Entry::All { up_to, .. } => (kind::ALL, Vec::new(), Some(*up_to)),
    };
    tx.feed_changed = true;
    let conn = tx.write().await?;
    let sequence: i64 =
        sqlx::query_scalar("UPDATE feed_state SET sequence = sequence + 1 RETURNING sequence")
            .fetch_one(&mut *conn)
            .await?;
    sqlx::query(
        "INSERT INTO revocations (kind, target, started_until, ends, sequence) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (kind, target) DO UPDATE SET
             started_until = excluded.started_until, ends = max(ends, excluded.ends),
             sequence = excluded.sequence",
    )
    .bind(kind)
    .bind(target)
    .bind(until.map(secs))
    .bind(secs(entry.ends()))
    .bind(sequence)
    .execute(conn)
    .await?;
    Ok(())
}

/// The last start that an entry revokes; of all users for `None`.
async fn last_revoked_start(tx: &mut Tx, hash: Option<SubjectHash>) -> Result<Option<UnixTime>, StoreError> {
    let (kind, target) = match hash {
        Some(hash) => (kind::SUBJECT, hash.as_bytes().to_vec()),
        None => (kind::ALL, Vec::new()),
    };
    let until: Option<i64> =
        sqlx::query_scalar("SELECT started_until FROM revocations WHERE kind = ?1 AND target = ?2")
            .bind(kind)
            .bind(target)
            .fetch_optional(tx.read())
            .await?;
    Ok(until.map(time))
}

/// `now`, or one second after the revoked starts.
pub(super) async fn earliest_start(
    tx: &mut Tx,
    subject: &Subject,
    now: UnixTime,
) -> Result<UnixTime, StoreError> {
    let hash = SubjectHash::of(subject.as_str());
    let until = last_revoked_start(tx, None).await?.max(last_revoked_start(tx, Some(hash)).await?);
    Ok(until.map_or(now, |until| now.max(until.saturating_add(Duration::from_secs(1)))))
}

/// The kind of the entry that revokes a session, if any. Key entries are not
/// considered.
pub(super) async fn find(
    tx: &mut Tx,
    id: SessionId,
    subject: SubjectHash,
    started: UnixTime,
) -> Result<Option<RevokedBy>, StoreError> {
    let kind: Option<i64> = sqlx::query_scalar(
        "SELECT min(kind) FROM revocations
         WHERE (kind = 0 AND target = ?1)
            OR (kind = 1 AND target = ?2 AND started_until >= ?3)
            OR (kind = 3 AND target = x'' AND started_until >= ?3)",
    )
    .bind(&id.as_bytes()[..])
    .bind(&subject.as_bytes()[..])
    .bind(secs(started))
    .fetch_one(tx.read())
    .await?;
    Ok(kind.map(|kind| match kind {
        kind::SESSION => RevokedBy::Session,
        kind::SUBJECT => RevokedBy::Subject,
        _ => RevokedBy::All,
    }))
}

/// The revoked keys, cached while no other process writes.
pub(super) async fn keys(tx: &mut Tx) -> Result<Vec<KeyId>, StoreError> {
    if let Some(keys) = &tx.revoked_keys {
        return Ok(keys.clone());
    }
    let blobs: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT target FROM revocations WHERE kind = 2").fetch_all(tx.read()).await?;
    let keys = blobs.iter().map(|blob| key_id(blob)).collect::<Result<Vec<_>, _>>()?;
    tx.revoked_keys = Some(keys.clone());
    Ok(keys)
}

pub(super) async fn current(tx: &mut Tx) -> Result<Position, StoreError> {
    position(&sqlx::query("SELECT epoch, sequence FROM feed_state").fetch_one(tx.read()).await?)
}

/// A higher epoch than any before.
pub(super) async fn bump_epoch(
    tx: &mut Tx,
    absolute_lifetime: Duration,
    now: UnixTime,
) -> Result<Position, StoreError> {
    tx.feed_changed = true;
    sqlx::query("UPDATE feed_state SET epoch = max(epoch + 1, ?1), last_end = max(last_end, ?2)")
        .bind(secs(now))
        .bind(secs(now.saturating_add(absolute_lifetime)))
        .execute(tx.write().await?)
        .await?;
    current(tx).await
}

/// The position and the entries after `after`. They are consistent if read in
/// one transaction.
pub(super) async fn after(conn: &mut sqlx::SqliteConnection, after: u64) -> Result<Vec<Entry>, StoreError> {
    sqlx::query(
        "SELECT kind, target, started_until, ends FROM revocations WHERE sequence > ?1 ORDER BY sequence",
    )
    .bind(int(after))
    .fetch_all(conn)
    .await?
    .iter()
    .map(entry)
    .collect()
}

/// Entries that ended before this time are deleted.
pub(super) fn forgettable(now: UnixTime) -> i64 {
    secs(now.saturating_sub(KEPT_PAST_END))
}
