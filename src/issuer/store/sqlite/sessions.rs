//! Sessions and their ledger rows.

use crate::error::RevokedBy;
use std::time::Duration;

use sqlx::Row as _;

use super::convert::{self, int, secs, time, uint};
use super::revocations::{self, forgettable};
use super::writer::Tx;
use super::{Expired, attempts, audit};
use crate::id::{SessionId, SubjectHash};
use crate::issuer::ledger::{Backing, Judgement, Outcome, RenewalRefusal, RenewalRequest, Row};
use crate::issuer::store::{AuditEvent, SessionRecord, StoreError, Target};
use crate::policy::Profile;
use crate::time::UnixTime;

/// How long the failures of a known device are kept: longer than its cookie.
const DEVICE_AGE: Duration = Duration::from_hours(400 * 24);

/// Inserts a session, unless something that its log-in relied on has changed:
/// the transaction is the moment of the log-in.
pub(super) async fn insert(
    tx: &mut Tx,
    session: &SessionRecord,
    network: Option<&str>,
    audit: Option<&AuditEvent>,
    now: UnixTime,
) -> Result<(), StoreError> {
    let earliest = revocations::earliest_start(tx, &session.subject, UnixTime::EPOCH).await?;
    if session.started < earliest {
        return Err(StoreError::StartRevoked { earliest: earliest.max(now) });
    }
    user_unchanged(tx, session).await?;
    if let Some(parent) = session.parent {
        parent_lives(tx, parent, session.ends, now).await?;
        make_way(tx, parent, session, now).await?;
    }
    if let Some((replaced, _)) = session.replaces {
        // It ended while the password was checked, and must not come back.
        parent_lives(tx, replaced, UnixTime::EPOCH, now).await?;
    }
    let row = &session.row;
    let inserted = sqlx::query(
        "INSERT INTO sessions (id, subject, parent, audience, address, user_agent, started, auth_time,
             last_renewal, ends, generation, issued, expires, key_id, seen_at, repeated_at, carried,
             network, renewable_until, remembered)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
         ON CONFLICT DO NOTHING",
    )
    .bind(&session.id.as_bytes()[..])
    .bind(session.subject.as_str())
    .bind(session.parent.map(|id| id.as_bytes().to_vec()))
    .bind(&session.audience)
    .bind(&session.address)
    .bind(&session.user_agent)
    .bind(secs(session.started))
    .bind(secs(session.auth_time))
    .bind(secs(session.last_renewal))
    .bind(secs(session.ends))
    .bind(int(row.generation))
    .bind(secs(row.issued))
    .bind(secs(row.expires))
    .bind(&row.key_id.as_bytes()[..])
    .bind(row.seen_at.map(secs))
    .bind(row.repeated_at.map(secs))
    .bind(&row.carried[..])
    .bind(network)
    .bind(secs(row.renewable_until))
    .bind(row.profile == Profile::Remembered)
    .execute(tx.write().await?)
    .await?;
    if inserted.rows_affected() == 0 {
        return Err(StoreError::SessionExists);
    }
    sqlx::query("UPDATE feed_state SET last_end = ?1 WHERE last_end < ?1")
        .bind(secs(session.ends))
        .execute(tx.write().await?)
        .await?;
    if let Some((replaced, at)) = session.replaces {
        replace(tx, replaced, session.id, at).await?;
    }
    if let Some(event) = audit {
        audit::append(tx, event, now).await?;
    }
    Ok(())
}

/// Most live children of one parent for one audience: a host has one cookie,
/// and a few cross-host log-ins may be under way.
const CHILDREN: usize = 4;

/// Revokes the oldest children above the limit. Cross-host log-ins are not
/// counted as log-ins, so they need their own limit.
async fn make_way(
    tx: &mut Tx,
    parent: SessionId,
    child: &SessionRecord,
    now: UnixTime,
) -> Result<(), StoreError> {
    let siblings = sqlx::query(
        "SELECT id FROM sessions AS s WHERE parent = ?1 AND audience IS ?2 AND renewable_until > ?3
             AND NOT EXISTS (SELECT 1 FROM revocations WHERE kind = 0 AND target = s.id)
         ORDER BY started, id",
    )
    .bind(&parent.as_bytes()[..])
    .bind(&child.audience)
    .bind(secs(now))
    .fetch_all(tx.read())
    .await?;
    let over = (siblings.len() + 1).saturating_sub(CHILDREN);
    for row in siblings.iter().take(over) {
        let id = convert::session_id(row.try_get("id")?)?;
        revocations::revoke(tx, &Target::Session { id, ends: None }, now).await?;
    }
    Ok(())
}

async fn replace(tx: &mut Tx, old: SessionId, new: SessionId, at: UnixTime) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO replaced (id, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
        .bind(&old.as_bytes()[..])
        .bind(secs(at))
        .execute(tx.write().await?)
        .await?;
    // One log-in is one family, which ends as a whole. The new session becomes
    // its root. If the old session was replaced before, its replacement is the
    // root, and becomes a child of the new one too.
    let root = revocations::root(tx, old).await?;
    sqlx::query("UPDATE sessions SET parent = ?2 WHERE (parent = ?1 OR id IN (?1, ?3)) AND id != ?2")
        .bind(&old.as_bytes()[..])
        .bind(&new.as_bytes()[..])
        .bind(&root.as_bytes()[..])
        .execute(tx.write().await?)
        .await?;
    Ok(())
}

/// Revokes the replaced sessions that are due to end. Returns their number.
pub(super) async fn end_replaced(tx: &mut Tx, now: UnixTime) -> Result<u64, StoreError> {
    let due = sqlx::query("DELETE FROM replaced WHERE at <= ?1 RETURNING id")
        .bind(secs(now))
        .fetch_all(tx.write().await?)
        .await?;
    let mut added = 0;
    for row in due {
        let id = convert::session_id(row.try_get("id")?)?;
        added += revocations::revoke(tx, &Target::Session { id, ends: None }, now).await?;
    }
    Ok(added)
}

/// A log-in that was checked against an old password, or before the user was
/// disabled, must not survive the revocation of that change.
async fn user_unchanged(tx: &mut Tx, session: &SessionRecord) -> Result<(), StoreError> {
    let user = sqlx::query("SELECT disabled, password_version FROM users WHERE name = ?1")
        .bind(session.subject.as_str())
        .fetch_optional(tx.read())
        .await?;
    let unchanged = match user {
        Some(user) => {
            let version = uint(user.try_get("password_version")?);
            !user.try_get::<bool, _>("disabled")?
                && session.password_version.is_none_or(|checked| checked == version)
        }
        // Users who log in elsewhere are not in the table.
        None => session.password_version.is_none(),
    };
    if unchanged { Ok(()) } else { Err(StoreError::UserChanged) }
}

async fn parent_lives(
    tx: &mut Tx,
    parent: SessionId,
    child_ends: UnixTime,
    now: UnixTime,
) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT subject, started, ends FROM sessions WHERE id = ?1")
        .bind(&parent.as_bytes()[..])
        .fetch_optional(tx.read())
        .await?
        .ok_or(StoreError::ParentOver)?;
    let ends = time(row.try_get("ends")?);
    let subject = SubjectHash::of(row.try_get("subject")?);
    let started = time(row.try_get("started")?);
    let revoked = revocations::find(tx, parent, subject, started).await?.is_some();
    if revoked || ends <= now || child_ends > ends { Err(StoreError::ParentOver) } else { Ok(()) }
}

/// Applies the renewal rule. One transaction checks revocation and changes the
/// row.
pub(super) async fn renew(tx: &mut Tx, request: &RenewalRequest) -> Result<Outcome, StoreError> {
    let id = request.session_id;
    let keys = revocations::keys(tx).await?;
    let known = if let Some(row) = tx.rows.get(&id) {
        Some(*row)
    } else {
        let subject = SubjectHash::of(&request.subject);
        if let Some(by) = revocations::find(tx, id, subject, request.started).await? {
            return Ok(Outcome::Refused(RenewalRefusal::Revoked { by }));
        }
        let row = find_row(tx, id).await?;
        if let Some(row) = row {
            tx.rows.put(id, row);
        }
        row
    };
    if keys.contains(&request.presented.key_id) {
        return Ok(Outcome::Refused(RenewalRefusal::Revoked { by: RevokedBy::Key }));
    }
    Ok(match request.judge(known, Backing::Store, &keys) {
        Judgement::Keep(row) => {
            keep(tx, id, known, row).await?;
            Outcome::Keep(row)
        }
        Judgement::Successor(row) => {
            keep(tx, id, known, row).await?;
            Outcome::Successor(row)
        }
        Judgement::Reuse => {
            reused(tx, request, known).await?;
            Outcome::Refused(RenewalRefusal::Reuse)
        }
        Judgement::Unknown => Outcome::Refused(RenewalRefusal::Unknown),
        Judgement::NotYetValid => Outcome::Refused(RenewalRefusal::NotYetValid),
        Judgement::SessionEnded => Outcome::Refused(RenewalRefusal::SessionEnded),
        Judgement::Expired => Outcome::Refused(RenewalRefusal::Expired),
    })
}

async fn find_row(tx: &mut Tx, id: SessionId) -> Result<Option<Row>, StoreError> {
    sqlx::query(
        "SELECT generation, issued, expires, renewable_until, key_id, carried, seen_at, repeated_at, remembered
         FROM sessions WHERE id = ?1",
    )
    .bind(&id.as_bytes()[..])
    .fetch_optional(tx.read())
    .await?
    .as_ref()
    .map(convert::ledger_row)
    .transpose()
}

async fn keep(tx: &mut Tx, id: SessionId, known: Option<Row>, row: Row) -> Result<(), StoreError> {
    if known == Some(row) {
        return Ok(());
    }
    sqlx::query(
        "UPDATE sessions SET generation = ?2, issued = ?3, expires = ?4, key_id = ?5, seen_at = ?6,
             repeated_at = ?7, last_renewal = ?3, renewable_until = ?8 WHERE id = ?1",
    )
    .bind(&id.as_bytes()[..])
    .bind(int(row.generation))
    .bind(secs(row.issued))
    .bind(secs(row.expires))
    .bind(&row.key_id.as_bytes()[..])
    .bind(row.seen_at.map(secs))
    .bind(row.repeated_at.map(secs))
    .bind(secs(row.renewable_until))
    .execute(tx.write().await?)
    .await?;
    tx.rows.put(id, row);
    Ok(())
}

/// Reuse: revokes the session and writes to the audit trail.
async fn reused(tx: &mut Tx, request: &RenewalRequest, known: Option<Row>) -> Result<(), StoreError> {
    let id = request.session_id;
    let target = Target::Session { id, ends: Some(request.presented.ends) };
    revocations::revoke(tx, &target, request.now).await?;
    let event = AuditEvent {
        kind: "authn_token_reuse".to_owned(),
        subject: Some(request.subject.to_string()),
        session: Some(id.short_hash()),
        address: request.address.as_deref().map(str::to_owned),
        detail: Some(serde_json::json!({
            "generation": request.presented.generation,
            "newest_generation": known.map(|row| row.generation),
        })),
    };
    audit::append(tx, &event, request.now).await
}

/// Deletes at most `batch` of each.
pub(super) async fn expire(
    tx: &mut Tx,
    audit_before: UnixTime,
    batch: u32,
    now: UnixTime,
) -> Result<Expired, StoreError> {
    attempts::expire(tx, now.saturating_sub(DEVICE_AGE), batch).await?;
    let forgettable = forgettable(now);
    let conn = tx.write().await?;
    let sessions = sqlx::query(
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE ends < ?1 ORDER BY ends LIMIT ?2)",
    )
    .bind(forgettable)
    .bind(batch)
    .execute(&mut *conn)
    .await?
    .rows_affected();
    let revocations = sqlx::query(
        "DELETE FROM revocations WHERE sequence IN
             (SELECT sequence FROM revocations WHERE ends < ?1 ORDER BY ends LIMIT ?2)",
    )
    .bind(forgettable)
    .bind(batch)
    .execute(&mut *conn)
    .await?
    .rows_affected();
    let audit = sqlx::query(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ?1 ORDER BY at LIMIT ?2)",
    )
    .bind(secs(audit_before))
    .bind(batch)
    .execute(conn)
    .await?
    .rows_affected();
    Ok(Expired { sessions, revocations, audit })
}
