//! The single connection that writes, with group commit.
//!
//! A commit waits for the disk (some milliseconds). All operations that arrive
//! meanwhile share the next one. Each has a savepoint, so that a refused one
//! does not affect the others. No caller gets an answer before the commit.

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::time::Duration;

use lru::LruCache;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use super::convert;
use crate::id::{KeyId, SessionId};
use crate::issuer::ledger::Row;
use crate::issuer::store::StoreError;
use crate::revocation::Position;

/// Most operations in one transaction.
const MOST: usize = 256;

/// Length of the queue; further callers wait to enter it.
const QUEUE: usize = 1024;

pub(super) type BoxFuture<'t, T> = Pin<Box<dyn Future<Output = T> + Send + 't>>;

/// An open transaction, for operations.
pub(super) struct Tx {
    conn: SqliteConnection,
    /// Whether the current operation has a savepoint.
    savepoint: bool,
    /// The renewal cache: the rows of sessions that no entry revokes. Cleared
    /// whenever another process may have written.
    pub(super) rows: LruCache<SessionId, Row>,
    /// The revoked keys, cleared likewise.
    pub(super) revoked_keys: Option<Vec<KeyId>>,
    /// Whether this transaction added entries to the feed.
    pub(super) feed_changed: bool,
}

impl Tx {
    /// The connection, for reading.
    pub(super) const fn read(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }

    /// The connection, for writing; undone if the operation fails.
    pub(super) async fn write(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        if !self.savepoint {
            sqlx::query("SAVEPOINT operation").execute(&mut self.conn).await?;
            self.savepoint = true;
        }
        Ok(&mut self.conn)
    }

    /// Clears the caches.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
        self.revoked_keys = None;
    }

    async fn end_operation(&mut self, failed: bool) -> Result<(), StoreError> {
        if failed {
            self.forget();
        }
        if self.savepoint {
            self.savepoint = false;
            if failed {
                sqlx::query("ROLLBACK TO operation").execute(&mut self.conn).await?;
            }
            sqlx::query("RELEASE operation").execute(&mut self.conn).await?;
        }
        Ok(())
    }

    async fn data_version(&mut self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.conn).await?)
    }

    async fn position(&mut self) -> Result<Position, StoreError> {
        let row = sqlx::query("SELECT epoch, sequence FROM feed_state").fetch_one(&mut self.conn).await?;
        convert::position(&row)
    }
}

/// An operation with its caller.
trait Job: Send {
    /// Runs it. Returns whether the whole batch must be rolled back.
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, Result<(), StoreError>>;
    /// Answers, after the commit or its failure.
    fn answer(self: Box<Self>, committed: Result<(), &StoreError>);
}

struct Call<F, T> {
    operation: Option<F>,
    result: Option<Result<T, StoreError>>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Job for Call<F, T>
where
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send,
    T: Send,
{
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, Result<(), StoreError>> {
        Box::pin(async move {
            let Some(operation) = self.operation.take() else { return Ok(()) };
            match operation(tx).await {
                // The engine failed, and may have rolled everything back.
                Err(error) if error.ends_transaction() => Err(error),
                result => {
                    tx.end_operation(result.is_err()).await?;
                    self.result = Some(result);
                    Ok(())
                }
            }
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), &StoreError>) {
        let result = match (committed, self.result) {
            (Ok(()), Some(result)) => result,
            (Err(error), _) => Err(error.for_another()),
            (Ok(()), None) => Err(StoreError::closed()),
        };
        // The caller may be gone; the commit stands.
        let _ = self.caller.send(result);
    }
}

/// A handle to the writer. The writer ends when the last is dropped.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    /// Starts the writer on this connection.
    pub(super) fn start(
        conn: SqliteConnection,
        cache: NonZeroUsize,
        poll: Duration,
        position: watch::Sender<Position>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let tx = Tx {
            conn,
            savepoint: false,
            rows: LruCache::sparse(cache),
            revoked_keys: None,
            feed_changed: false,
        };
        let task = Task { tx, data_version: None, position };
        (Self { jobs }, tokio::spawn(task.run(queue, poll)))
    }

    /// Runs `operation` in a transaction and returns its result after the
    /// commit. Dropping the future does not undo it.
    pub(super) async fn call<F, T>(&self, operation: F) -> Result<T, StoreError>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let job = Call { operation: Some(operation), result: None, caller };
        self.jobs.send(Box::new(job)).await.map_err(|_| StoreError::closed())?;
        answer.await.map_err(|_| StoreError::closed())?
    }
}

struct Task {
    tx: Tx,
    /// Changes when another connection has committed
    /// (<https://sqlite.org/pragma.html#pragma_data_version>).
    data_version: Option<i64>,
    position: watch::Sender<Position>,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>, poll: Duration) {
        let mut tick = tokio::time::interval(poll);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                first = queue.recv() => {
                    let Some(first) = first else { break };
                    let mut batch = vec![first];
                    while batch.len() < MOST && let Ok(job) = queue.try_recv() {
                        batch.push(job);
                    }
                    let committed = self.transaction(&mut batch).await;
                    for job in batch {
                        job.answer(committed.as_ref().copied());
                    }
                }
                _ = tick.tick() => {
                    // The next caller gets any failure.
                    if let Err(error) = self.look().await {
                        tracing::debug!(%error, "the database could not be looked at");
                    }
                }
            }
        }
        // The last connection to close truncates the write-ahead log.
        let _ = self.tx.conn.close().await;
    }

    async fn transaction(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let done = self.try_transaction(batch).await;
        if done.is_err() {
            self.tx.savepoint = false;
            self.tx.feed_changed = false;
            self.tx.forget();
            // Fails if the engine has rolled back already.
            let _ = sqlx::query("ROLLBACK").execute(&mut self.tx.conn).await;
        }
        done
    }

    async fn try_transaction(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let tx = &mut self.tx;
        // IMMEDIATE: nobody else writes from here on, so reads stay valid until
        // the commit.
        sqlx::query("BEGIN IMMEDIATE").execute(&mut tx.conn).await?;
        let version = Some(tx.data_version().await?);
        if self.data_version != version {
            tx.forget();
            tx.feed_changed = true;
            self.data_version = version;
        }
        for job in batch {
            job.run(tx).await?;
        }
        let position = if std::mem::take(&mut tx.feed_changed) { Some(tx.position().await?) } else { None };
        sqlx::query("COMMIT").execute(&mut tx.conn).await?;
        if let Some(position) = position {
            publish(&self.position, position);
        }
        Ok(())
    }

    /// Notices commits of other processes.
    async fn look(&mut self) -> Result<(), StoreError> {
        let version = Some(self.tx.data_version().await?);
        if self.data_version != version {
            self.tx.forget();
            publish(&self.position, self.tx.position().await?);
            self.data_version = version;
        }
        Ok(())
    }
}

fn publish(watched: &watch::Sender<Position>, position: Position) {
    watched.send_if_modified(|known| {
        let news = position > *known;
        if news {
            *known = position;
        }
        news
    });
}
