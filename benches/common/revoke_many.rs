//! A long list of revocations, for benches and tests.

use std::path::Path;

/// Writes revoked sessions directly into the database, which is faster than
/// revoking them.
pub async fn revoke_many(data: &Path, count: u32) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data.join("hallpass.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let entries = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO revocations (sequence, kind, target, ends)
         SELECT i, 0, randomblob(16), unixepoch() + 3600 FROM n";
    sqlx::query(entries).bind(count).execute(&pool).await.unwrap();
    sqlx::query("UPDATE feed_state SET sequence = ?1").bind(count).execute(&pool).await.unwrap();
    pool.close().await;
}
