//! The file, its settings and its schema.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqlStr};

use super::writer::BoxFuture;
use crate::error::ConfigError;
use crate::files;
use crate::issuer::store::StoreError;

/// The database's name in the data directory.
pub(super) const FILE: &str = "hallpass.db";

/// The schema's changes, oldest first. Never edit a released one: its checksum
/// is in every database.
const MIGRATIONS: [(i64, &str, &str); 4] = [
    (1, "start", include_str!("../migrations/0001_start.sql")),
    (2, "attempts", include_str!("../migrations/0002_attempts.sql")),
    (3, "replaced", include_str!("../migrations/0003_replaced.sql")),
    (4, "renewable", include_str!("../migrations/0004_renewable.sql")),
];

fn migrator() -> Migrator {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    };
    Migrator::with_migrations(MIGRATIONS.map(migration).into())
}

/// Creates the file if necessary and opens it.
///
/// WAL, so that readers don't wait for the writer; `synchronous = FULL`,
/// because in WAL mode the default of NORMAL syncs only at checkpoints and a
/// power cut could undo an acknowledged revocation
/// (<https://sqlite.org/pragma.html#pragma_synchronous>).
pub(super) fn options(dir: &Path, busy_timeout: Duration) -> Result<SqliteConnectOptions, ConfigError> {
    let path = create(dir)?;
    Ok(SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(busy_timeout)
        .foreign_keys(true)
        .disable_statement_logging())
}

/// Creates the file with mode 0600; SQLite gives the write-ahead log the same
/// mode.
fn create(dir: &Path) -> Result<PathBuf, ConfigError> {
    files::create_private_dir(dir)?;
    files::check_unshared_dir(dir)?;
    let path = dir.join(FILE);
    for suffix in ["", "-wal", "-shm"] {
        let path = dir.join(format!("{FILE}{suffix}"));
        if path.exists() {
            files::check_unshared(&path)?;
        }
    }
    let mut new = std::fs::OpenOptions::new();
    new.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        new.mode(0o600);
    }
    match new.open(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => private(&path)?,
        Err(error) => return Err(files::error(&path, error)),
    }
    Ok(path)
}

fn private(path: &Path) -> Result<(), ConfigError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).map_err(|why| files::error(path, why))?.permissions().mode();
        if mode & 0o077 != 0 {
            let why = format!(
                "others can read the password hashes in it (mode {:04o}); run: chmod 600 {}",
                mode & 0o7777,
                path.display()
            );
            return Err(files::error(path, why));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Connects and migrates the schema. Two processes can do so at once.
pub(super) async fn connect(
    options: &SqliteConnectOptions,
    patience: Duration,
) -> Result<SqliteConnection, ConfigError> {
    let path = options.get_filename();
    let deadline = Instant::now() + patience;
    loop {
        match try_connect(options.clone()).await {
            Ok(conn) => return Ok(conn),
            // Switching to WAL does not wait for locks, unlike everything else.
            Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
                let error = StoreError::from(error);
                if !error.is_busy() || Instant::now() >= deadline {
                    return Err(files::error(path, error));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(MigrateError::VersionMissing(version)) => {
                let newest = MIGRATIONS[MIGRATIONS.len() - 1].0;
                let why = format!(
                    "this data directory was written by a newer hallpass (schema {version}, and this one \
                     knows up to {newest}); run that version, or restore a backup made by this one"
                );
                return Err(files::error(path, why));
            }
            Err(error) => {
                return Err(files::error(path, format!("the schema can't be brought up to date: {error}")));
            }
        }
    }
}

/// Boxed, since the compiler can't see through sqlx's lifetimes that the future
/// is `Send`.
fn try_connect(options: SqliteConnectOptions) -> BoxFuture<'static, Result<SqliteConnection, MigrateError>> {
    Box::pin(async move {
        let mut conn = options.connect().await?;
        // One transaction for the check and the change: SQLite has no other
        // lock to keep two processes from migrating at once.
        let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
        // `run` needs an `Acquire` whose lifetimes don't fit a `Send` future;
        // this is what it calls.
        migrator().run_direct(None, &mut *tx, false).await?;
        tx.commit().await?;
        Ok(conn)
    })
}
