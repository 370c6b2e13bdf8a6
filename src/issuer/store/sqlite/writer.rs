//! The one connection that writes, and group commit.
//!
//! A commit waits for the disk (some milliseconds); everything asked for
//! meanwhile shares the next one. Each operation has a savepoint, so that one
//! that is refused leaves the others alone, and nobody is answered before the
//! commit.

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

/// Operations that wait their turn; more wait in their callers.
const QUEUE: usize = 1024;

pub(super) type BoxFuture<'t, T> = Pin<Box<dyn Future<Output = T> + Send + 't>>;

/// An open transaction, as an operation sees it.
pub(super) struct Tx {
    conn: SqliteConnection,
    /// Whether the operation at work has a savepoint.
    savepoint: bool,
    /// Rows of sessions that no entry revokes, as they are in the database:
    /// the renewal cache. Emptied whenever somebody else may have written.
    pub(super) rows: LruCache<SessionId, Row>,
    /// Revoked keys, under the same condition.
    pub(super) revoked_keys: Option<Vec<KeyId>>,
    /// Whether the feed has moved on in this transaction.
    pub(super) feed_changed: bool,
}

impl Tx {
    /// The connection, for reading what this transaction sees.
    pub(super) const fn read(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }

    /// The connection, for writing: what is written is undone if the operation
    /// fails.
    pub(super) async fn write(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        if !self.savepoint {
            sqlx::query("SAVEPOINT operation").execute(&mut self.conn).await?;
            self.savepoint = true;
        }
        Ok(&mut self.conn)
    }

    /// Forgets what it remembers of the database.
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
    /// Does it, and says whether the whole batch must be given up.
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
        // The caller may have gone; what was done is done.
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

    /// Does `operation` in a transaction and returns its result once that is
    /// committed. Dropping the future does not undo it.
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
                    // A failure here shows itself to the next caller.
                    if let Err(error) = self.look().await {
                        tracing::debug!(%error, "the database could not be looked at");
                    }
                }
            }
        }
        // The last connection to close tidies the write-ahead log up.
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
        // IMMEDIATE: from here on nobody else writes, so that what is read may
        // be acted upon.
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

    /// Takes notice of what other processes did.
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
