//! Failed passwords.

use sqlx::Row as _;

use super::convert::{secs, time, uint};
use super::writer::Tx;
use crate::id::SubjectHash;
use crate::issuer::store::{Attempt, AttemptKey, AttemptRule, StoreError};
use crate::time::UnixTime;

/// A row, or the defaults without one.
#[derive(Clone, Copy, Default)]
struct Count {
    failures: u32,
    next_allowed: Option<UnixTime>,
}

/// Counts an attempt as failed, unless it must wait.
pub(super) async fn begin(
    tx: &mut Tx,
    key: AttemptKey,
    is_user: bool,
    rule: &AttemptRule,
    now: UnixTime,
) -> Result<Attempt, StoreError> {
    let rows = sqlx::query("SELECT device, failures, next_allowed FROM attempts WHERE account = ?1")
        .bind(&key.account.as_bytes()[..])
        .fetch_all(tx.read())
        .await?;
    let (mut strangers, mut device, mut total) = (Count::default(), Count::default(), 0_u32);
    for row in &rows {
        let failures = u32::try_from(uint(row.try_get("failures")?)).unwrap_or(u32::MAX);
        let count = Count { failures, next_allowed: Some(time(row.try_get("next_allowed")?)) };
        total = total.saturating_add(failures);
        match row.try_get::<&[u8], _>("device")? {
            [] => strangers = count,
            id if key.device.as_ref().is_some_and(|own| own == id) => device = count,
            _ => {}
        }
    }
    let known = key.device.filter(|_| device.failures < AttemptRule::MOST_OF_DEVICE);
    let (count, most) = match known {
        Some(_) => (device, u32::MAX),
        None => (strangers, rule.most_of_strangers()),
    };
    if total >= rule.most || count.failures >= most {
        return Ok(Attempt::Locked);
    }
    // Later than any wait can be, so a wrong clock wrote it.
    let latest = now.saturating_add(rule.longest_wait);
    if let Some(next) = count.next_allowed.filter(|next| now < *next && *next <= latest) {
        return Ok(Attempt::Wait(next.since(now)));
    }
    let failures = count.failures + 1;
    let counted = AttemptKey { account: key.account, device: known };
    sqlx::query(
        "INSERT INTO attempts (account, device, failures, next_allowed, last, is_user)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET failures = excluded.failures, next_allowed = excluded.next_allowed,
             last = excluded.last, is_user = excluded.is_user",
    )
    .bind(&counted.account.as_bytes()[..])
    .bind(device_bytes(&counted))
    .bind(failures)
    .bind(secs(now.saturating_add(rule.wait_after(failures))))
    .bind(secs(now))
    .bind(is_user)
    .execute(tx.write().await?)
    .await?;
    if !is_user && rows.is_empty() {
        make_room(tx, rule.names_of_nobody).await?;
    }
    Ok(Attempt::Go { key: counted, last: total + 1 >= rule.most || failures >= most })
}

fn device_bytes(key: &AttemptKey) -> &[u8] {
    key.device.as_ref().map_or(&[], |device| &device[..])
}

/// Deletes the least recently tried unknown names.
async fn make_room(tx: &mut Tx, most: u32) -> Result<(), StoreError> {
    let kept: i64 =
        sqlx::query_scalar("SELECT count(*) FROM attempts WHERE is_user = 0").fetch_one(tx.read()).await?;
    let over = kept - i64::from(most);
    if over > 0 {
        sqlx::query(
            "DELETE FROM attempts WHERE (account, device) IN
                 (SELECT account, device FROM attempts WHERE is_user = 0 ORDER BY last LIMIT ?1)",
        )
        .bind(over)
        .execute(tx.write().await?)
        .await?;
    }
    Ok(())
}

/// The password was right, which ends the row of consecutive failures.
pub(super) async fn succeeded(tx: &mut Tx, key: AttemptKey, rule: &AttemptRule) -> Result<(), StoreError> {
    if key.device.is_none() {
        return clear(tx, key.account).await.map(drop);
    }
    sqlx::query("DELETE FROM attempts WHERE account = ?1 AND device != x''")
        .bind(&key.account.as_bytes()[..])
        .execute(tx.write().await?)
        .await?;
    sqlx::query("UPDATE attempts SET failures = min(failures, ?2) WHERE account = ?1")
        .bind(&key.account.as_bytes()[..])
        .bind(rule.slowest_after())
        .execute(tx.write().await?)
        .await?;
    Ok(())
}

/// Deletes all failures of an account. Returns whether there were any.
pub(super) async fn clear(tx: &mut Tx, account: SubjectHash) -> Result<bool, StoreError> {
    let deleted = sqlx::query("DELETE FROM attempts WHERE account = ?1")
        .bind(&account.as_bytes()[..])
        .execute(tx.write().await?)
        .await?;
    Ok(deleted.rows_affected() > 0)
}

/// Deletes at most `batch` counts of devices whose cookies expired by `before`.
pub(super) async fn expire(tx: &mut Tx, before: UnixTime, batch: u32) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM attempts WHERE (account, device) IN
             (SELECT account, device FROM attempts WHERE device != x'' AND last < ?1 LIMIT ?2)",
    )
    .bind(secs(before))
    .bind(batch)
    .execute(tx.write().await?)
    .await?;
    Ok(())
}
