//! Users.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::convert::{damaged, int, secs, subject, time, uint};
use super::writer::Tx;
use super::{attempts, revocations};
use crate::id::{Subject, SubjectHash};
use crate::issuer::store::{NewUser, Role, StoreError, Target, UnavailableKind, User};
use crate::time::UnixTime;

pub(super) fn from_row(row: &SqliteRow) -> Result<User, StoreError> {
    let claims = row
        .try_get::<Option<&str>, _>("claims")?
        .map(|json| serde_json::from_str(json).map_err(|_| damaged("set of claims")))
        .transpose()?;
    Ok(User {
        name: subject(row.try_get("name")?)?,
        password_hash: row.try_get("password_hash")?,
        password_version: uint(row.try_get("password_version")?),
        password_changed: time(row.try_get("password_changed")?),
        role: Role::from_name(row.try_get("role")?).ok_or_else(|| damaged("role"))?,
        claims,
        disabled: row.try_get("disabled")?,
        created: time(row.try_get("created")?),
    })
}

pub(super) async fn add(tx: &mut Tx, user: &NewUser, now: UnixTime) -> Result<(), StoreError> {
    let claims = user
        .claims
        .as_ref()
        .map(serde_json::to_string)
        .transpose()
        .map_err(|error| StoreError::unavailable(UnavailableKind::Other, error.to_string()))?;
    let added = sqlx::query(
        "INSERT INTO users (name, password_hash, password_version, password_changed, role, claims, created)
         VALUES (?1, ?2, 0, ?3, ?4, ?5, ?3) ON CONFLICT DO NOTHING",
    )
    .bind(user.name.as_str())
    .bind(&user.password_hash)
    .bind(secs(now))
    .bind(user.role.as_str())
    .bind(claims)
    .execute(tx.write().await?)
    .await?;
    if added.rows_affected() == 0 {
        return Err(StoreError::UserExists(user.name.to_string()));
    }
    // Earlier attempts were for an unknown name.
    attempts::clear(tx, SubjectHash::of(user.name.as_str())).await.map(drop)
}

/// Changes the password and revokes the user's sessions. Returns the number of
/// new entries.
pub(super) async fn set_password(
    tx: &mut Tx,
    name: &Subject,
    hash: &str,
    now: UnixTime,
) -> Result<u64, StoreError> {
    let changed = sqlx::query(
        "UPDATE users SET password_hash = ?2, password_version = password_version + 1, password_changed = ?3
         WHERE name = ?1",
    )
    .bind(name.as_str())
    .bind(hash)
    .bind(secs(now))
    .execute(tx.write().await?)
    .await?;
    one(changed.rows_affected(), name)?;
    attempts::clear(tx, SubjectHash::of(name.as_str())).await?;
    revocations::revoke(tx, &Target::Subject(name.clone()), now).await
}

pub(super) async fn rehash(
    tx: &mut Tx,
    name: &Subject,
    version: u64,
    hash: &str,
) -> Result<bool, StoreError> {
    let changed =
        sqlx::query("UPDATE users SET password_hash = ?3 WHERE name = ?1 AND password_version = ?2")
            .bind(name.as_str())
            .bind(int(version))
            .bind(hash)
            .execute(tx.write().await?)
            .await?;
    Ok(changed.rows_affected() == 1)
}

pub(super) async fn disable(tx: &mut Tx, name: &Subject, now: UnixTime) -> Result<u64, StoreError> {
    set_disabled(tx, name, true).await?;
    revocations::revoke(tx, &Target::Subject(name.clone()), now).await
}

pub(super) async fn set_disabled(tx: &mut Tx, name: &Subject, disabled: bool) -> Result<(), StoreError> {
    let changed = sqlx::query("UPDATE users SET disabled = ?2 WHERE name = ?1")
        .bind(name.as_str())
        .bind(disabled)
        .execute(tx.write().await?)
        .await?;
    one(changed.rows_affected(), name)
}

fn one(rows: u64, name: &Subject) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::NoUser(name.to_string())) }
}

/// Returns the secret of this purpose; stores `new` if there is none.
pub(super) async fn secret(tx: &mut Tx, purpose: &str, new: &[u8; 32]) -> Result<[u8; 32], StoreError> {
    sqlx::query("INSERT INTO secrets (purpose, secret) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
        .bind(purpose)
        .bind(&new[..])
        .execute(tx.write().await?)
        .await?;
    let secret: Vec<u8> = sqlx::query_scalar("SELECT secret FROM secrets WHERE purpose = ?1")
        .bind(purpose)
        .fetch_one(tx.read())
        .await?;
    secret.try_into().map_err(|_| damaged("secret"))
}
