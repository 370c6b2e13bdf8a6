//! The audit trail.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::convert::{damaged, secs, time};
use super::writer::Tx;
use crate::issuer::store::{AuditEvent, AuditRecord, StoreError};
use crate::time::UnixTime;

pub(super) async fn append(tx: &mut Tx, event: &AuditEvent, now: UnixTime) -> Result<(), StoreError> {
    let detail = event.detail.as_ref().map(ToString::to_string);
    sqlx::query(
        "INSERT INTO audit (at, kind, subject, session, address, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(secs(now))
    .bind(&event.kind)
    .bind(&event.subject)
    .bind(&event.session)
    .bind(&event.address)
    .bind(detail)
    .execute(tx.write().await?)
    .await?;
    Ok(())
}

pub(super) fn from_row(row: &SqliteRow) -> Result<AuditRecord, StoreError> {
    let detail = row
        .try_get::<Option<&str>, _>("detail")?
        .map(|json| serde_json::from_str(json).map_err(|_| damaged("audit detail")))
        .transpose()?;
    Ok(AuditRecord {
        id: row.try_get("id")?,
        at: time(row.try_get("at")?),
        event: AuditEvent {
            kind: row.try_get("kind")?,
            subject: row.try_get("subject")?,
            session: row.try_get("session")?,
            address: row.try_get("address")?,
            detail,
        },
    })
}
