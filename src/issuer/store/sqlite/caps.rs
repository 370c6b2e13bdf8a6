//! The limits on live sessions.

use super::convert::{secs, session_id, subject, time};
use super::writer::Tx;
use super::{audit, revocations};
use crate::id::{SessionId, Subject, SubjectHash};
use crate::issuer::store::{
    AuditEvent, Cap, CapScope, Evicted, SessionCaps, SessionRecord, StoreError, Target, WhenFull,
};
use crate::time::UnixTime;
use sqlx::Row as _;

/// Revokes sessions so that one more may start, or refuses it.
pub(super) async fn make_room(
    tx: &mut Tx,
    session: &SessionRecord,
    caps: &SessionCaps,
    now: UnixTime,
) -> Result<Vec<Evicted>, StoreError> {
    let mut made = Vec::new();
    if let Some(cap) = caps.account {
        let whose = (CapScope::Account, session.subject.as_str());
        made.extend(keep_under(tx, whose, cap, caps.replaces, now).await?);
    }
    if let Some((network, cap)) = &caps.network {
        let whose = (CapScope::Network, network.as_str());
        made.extend(keep_under(tx, whose, *cap, caps.replaces, now).await?);
    }
    for room in &made {
        let event = AuditEvent {
            kind: "session_ended".to_owned(),
            subject: Some(room.subject.to_string()),
            session: Some(room.id.short_hash()),
            address: session.address.clone(),
            detail: Some(serde_json::json!({ "by": "excess_sessions_exceeded" })),
        };
        audit::append(tx, &event, now).await?;
    }
    Ok(made)
}

/// A live session.
struct Live {
    id: SessionId,
    subject: Subject,
    ends: UnixTime,
}

async fn keep_under(
    tx: &mut Tx,
    (scope, whose): (CapScope, &str),
    cap: Cap,
    replaces: Option<SessionId>,
    now: UnixTime,
) -> Result<Vec<Evicted>, StoreError> {
    // Usually the count is small enough even without looking at revocations.
    let at_most: i64 = sqlx::query_scalar(match scope {
        CapScope::Account => {
            "SELECT count(*) FROM sessions WHERE subject = ?1 AND parent IS NULL AND renewable_until > ?2"
        }
        CapScope::Network => {
            "SELECT count(*) FROM sessions WHERE network = ?1 AND parent IS NULL AND renewable_until > ?2"
        }
    })
    .bind(whose)
    .bind(secs(now))
    .fetch_one(tx.read())
    .await?;
    if at_most < i64::from(cap.most) {
        return Ok(Vec::new());
    }
    let live: Vec<_> = live(tx, scope, whose, now)
        .await?
        .into_iter()
        .filter(|session| Some(session.id) != replaces)
        .collect();
    let most = usize::try_from(cap.most).unwrap_or(usize::MAX);
    let over = (live.len() + 1).saturating_sub(most);
    if over > 0 && cap.when_full == WhenFull::Refuse {
        return Err(StoreError::SessionsExceeded(scope));
    }
    let mut made = Vec::with_capacity(over);
    for Live { id, subject, ends } in live.into_iter().take(over) {
        revocations::revoke(tx, &Target::Session { id, ends: Some(ends) }, now).await?;
        made.push(Evicted { id, subject, scope });
    }
    Ok(made)
}

/// The live sessions, oldest first. Children are revoked with their parents.
async fn live(tx: &mut Tx, scope: CapScope, whose: &str, now: UnixTime) -> Result<Vec<Live>, StoreError> {
    let rows = sqlx::query(match scope {
        CapScope::Account => {
            "SELECT id, subject, started, ends FROM sessions AS s WHERE subject = ?1 AND parent IS NULL AND renewable_until > ?2
             AND NOT EXISTS (SELECT 1 FROM revocations WHERE kind = 0 AND target = s.id) ORDER BY started, id"
        }
        CapScope::Network => {
            "SELECT id, subject, started, ends FROM sessions AS s WHERE network = ?1 AND parent IS NULL AND renewable_until > ?2
             AND NOT EXISTS (SELECT 1 FROM revocations WHERE kind = 0 AND target = s.id) ORDER BY started, id"
        }
    })
    .bind(whose)
    .bind(secs(now))
    .fetch_all(tx.read())
    .await?;
    let mut live = Vec::with_capacity(rows.len());
    for row in &rows {
        let (id, whose) = (session_id(row.try_get("id")?)?, subject(row.try_get("subject")?)?);
        let started = time(row.try_get("started")?);
        if revocations::find(tx, id, SubjectHash::of(whose.as_str()), started).await?.is_none() {
            live.push(Live { id, subject: whose, ends: time(row.try_get("ends")?) });
        }
    }
    Ok(live)
}
