//! The issuer's own revocation list, filled from its store.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::id::KeyId;
use crate::issuer::store::{Changes, Store, StoreError};
use crate::revocation::{Entry, Position, RevocationList};
use crate::time::{Clock, UnixTime};

/// How soon the store is read again after a failure.
const RETRY: Duration = Duration::from_millis(200);

/// Adds revocations by other processes and requests to the list that this
/// process checks its own requests against.
pub(crate) struct Follower<S> {
    store: Arc<S>,
    list: RevocationList,
    revoked_keys: Arc<ArcSwap<Vec<KeyId>>>,
    /// Only one task reads and applies at a time. A delta fits the list that it
    /// was read for; if it did not fit, its entries would be missing until the
    /// next.
    following: Arc<Mutex<()>>,
}

impl<S> Clone for Follower<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            list: self.list.clone(),
            revoked_keys: Arc::clone(&self.revoked_keys),
            following: Arc::clone(&self.following),
        }
    }
}

impl<S: Store> Follower<S> {
    /// Starts with a list that has everything revoked so far.
    pub(crate) async fn start(store: Arc<S>, now: UnixTime) -> Result<Self, StoreError> {
        let follower = Self {
            list: RevocationList::new(),
            revoked_keys: Arc::default(),
            following: Arc::default(),
            store,
        };
        let all = follower.store.snapshot().await?;
        follower.apply(all, now).await?;
        Ok(follower)
    }

    /// Returns the list it fills.
    pub(crate) const fn list(&self) -> &RevocationList {
        &self.list
    }

    /// Returns the keys that must not sign any more.
    pub(crate) fn revoked_keys(&self) -> Arc<Vec<KeyId>> {
        self.revoked_keys.load_full()
    }

    /// Adds what is new in the store.
    pub(crate) async fn catch_up(&self, now: UnixTime) -> Result<(), StoreError> {
        self.catch_up_by(|known| self.store.revocations_after(known), now).await
    }

    async fn catch_up_by<R>(&self, read: impl FnOnce(Position) -> R, now: UnixTime) -> Result<(), StoreError>
    where
        R: Future<Output = Result<Changes, StoreError>>,
    {
        let _one = self.following.lock().await;
        let changes = read(self.list.position().unwrap_or_default()).await?;
        self.apply(changes, now).await
    }

    async fn apply(&self, changes: Changes, now: UnixTime) -> Result<(), StoreError> {
        if changes.entries.iter().any(|entry| matches!(entry, Entry::Key { .. })) {
            self.revoked_keys.store(Arc::new(self.store.revoked_keys().await?));
        }
        let Changes { base, position, entries } = changes;
        let applied = match base {
            None => self.list.apply_snapshot(position, now, entries),
            Some(base) => self.list.apply_delta(base, position, now, entries),
        };
        if let Err(error) = applied {
            tracing::error!(%error, "revocations don't fit the list that they were read for");
        }
        Ok(())
    }

    /// Follows the store, for ever.
    pub(crate) async fn keep_current(self, clock: Arc<dyn Clock>) {
        let mut positions = self.store.watch();
        while positions.changed().await.is_ok() {
            while let Err(error) = self.catch_up(clock.now()).await {
                tracing::error!(%error, "revocations could not be read; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;
    use crate::issuer::store::{SqliteStore, Target};
    use crate::time::SystemClock;
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    /// A delta that was read for an earlier list does not fit a later one. Its
    /// entries would be missing until the next revocation.
    #[tokio::test]
    async fn of_two_that_read_at_once_neither_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path()).await.unwrap());
        let now = SystemClock.now();
        let follower = Follower::start(Arc::clone(&store), now).await.unwrap();
        let revoke = async |n: u8| {
            let ends = Some(now.saturating_add(Duration::from_hours(1)));
            let target = Target::Session { id: SessionId::from_bytes([n; 16]), ends };
            store.revoke(target, None, now).await.unwrap();
        };
        // Reads, reports that, and goes on when told.
        let reader = || {
            let (has_read, reads) = oneshot::channel();
            let (go_on, told) = oneshot::channel::<()>();
            let (follower, store) = (follower.clone(), Arc::clone(&store));
            let task = tokio::spawn(async move {
                let read = async |known| {
                    let changes = store.revocations_after(known).await;
                    let _ = has_read.send(());
                    let _ = told.await;
                    changes
                };
                follower.catch_up_by(read, now).await.unwrap();
            });
            (task, reads, go_on)
        };
        revoke(1).await;
        let (first, first_reads, first_goes_on) = reader();
        first_reads.await.unwrap();
        revoke(2).await;
        let (second, second_reads, second_goes_on) = reader();
        // It may have to wait for the first.
        let _ = timeout(Duration::from_millis(500), second_reads).await;
        first_goes_on.send(()).unwrap();
        first.await.unwrap();
        second_goes_on.send(()).unwrap();
        second.await.unwrap();
        assert_eq!(follower.list().position(), Some(store.position().await.unwrap()));
        assert_eq!(follower.list().len(), 2);
    }
}
