//! Converts between Rust's types and SQLite's.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::id::{KeyId, SessionId, Subject, SubjectHash};
use crate::issuer::ledger::Row;
use crate::issuer::store::{SessionRecord, StoreError, UnavailableKind};
use crate::policy::Profile;
use crate::revocation::{Entry, Position};
use crate::time::UnixTime;

/// SQLite's integers are signed; no time or generation is that large.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn secs(time: UnixTime) -> i64 {
    int(time.as_secs())
}

pub(super) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn time(number: i64) -> UnixTime {
    UnixTime::saturating_from_secs(uint(number))
}

pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::unavailable(UnavailableKind::Damaged, format!("a stored {what} is none"))
}

fn bytes<const N: usize>(blob: &[u8], what: &str) -> Result<[u8; N], StoreError> {
    blob.try_into().map_err(|_| damaged(what))
}

pub(super) fn session_id(blob: &[u8]) -> Result<SessionId, StoreError> {
    bytes(blob, "session id").map(SessionId::from_bytes)
}

pub(super) fn key_id(blob: &[u8]) -> Result<KeyId, StoreError> {
    bytes(blob, "key id").map(KeyId::from_bytes)
}

pub(super) fn subject(text: String) -> Result<Subject, StoreError> {
    Subject::new(text).map_err(|_| damaged("subject"))
}

pub(super) fn position(row: &SqliteRow) -> Result<Position, StoreError> {
    Ok(Position { epoch: uint(row.try_get("epoch")?), sequence: uint(row.try_get("sequence")?) })
}

pub(super) fn ledger_row(row: &SqliteRow) -> Result<Row, StoreError> {
    Ok(Row {
        generation: uint(row.try_get("generation")?),
        issued: time(row.try_get("issued")?),
        expires: time(row.try_get("expires")?),
        renewable_until: time(row.try_get("renewable_until")?),
        key_id: key_id(row.try_get("key_id")?)?,
        carried: bytes(row.try_get("carried")?, "digest")?,
        seen_at: row.try_get::<Option<i64>, _>("seen_at")?.map(time),
        repeated_at: row.try_get::<Option<i64>, _>("repeated_at")?.map(time),
        profile: if row.try_get("remembered")? { Profile::Remembered } else { Profile::Standard },
    })
}

pub(super) fn session(row: &SqliteRow) -> Result<SessionRecord, StoreError> {
    Ok(SessionRecord {
        id: session_id(row.try_get("id")?)?,
        subject: subject(row.try_get("subject")?)?,
        parent: row.try_get::<Option<&[u8]>, _>("parent")?.map(session_id).transpose()?,
        audience: row.try_get("audience")?,
        address: row.try_get("address")?,
        user_agent: row.try_get("user_agent")?,
        started: time(row.try_get("started")?),
        auth_time: time(row.try_get("auth_time")?),
        last_renewal: time(row.try_get("last_renewal")?),
        ends: time(row.try_get("ends")?),
        row: ledger_row(row)?,
        replaces: None,
        password_version: None,
    })
}

pub(super) fn entry(row: &SqliteRow) -> Result<Entry, StoreError> {
    let target: &[u8] = row.try_get("target")?;
    let started_until = row.try_get::<Option<i64>, _>("started_until")?.map(time);
    let up_to = || started_until.ok_or_else(|| damaged("revocation"));
    let ends = time(row.try_get("ends")?);
    Ok(match row.try_get::<i64, _>("kind")? {
        0 => Entry::Session { sid: session_id(target)?, ends },
        1 => {
            let hash = bytes(target, "subject hash").map(SubjectHash::from_bytes)?;
            Entry::Subject { hash, up_to: up_to()?, ends }
        }
        2 => Entry::Key { kid: key_id(target)?, ends },
        3 => Entry::All { up_to: up_to()?, ends },
        _ => return Err(damaged("revocation")),
    })
}
