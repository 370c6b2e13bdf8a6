//! The issuer's own revocation list, filled from its store.

use std::sync::Arc;

use crate::issuer::ledger::RevocationEntry;
use crate::issuer::store::{Changes, Store, StoreError};
use crate::revocation::{Entry, Position, RevocationList};
use crate::time::{Clock, UnixTime};

/// Takes what other processes and other requests revoked into the list that
/// this process's requests are admitted by.
pub(crate) struct Follower<S> {
    store: Arc<S>,
    list: RevocationList,
}

impl<S> Clone for Follower<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), list: self.list.clone() }
    }
}

impl<S: Store> Follower<S> {
    /// A list that knows everything revoked so far.
    pub(crate) async fn start(store: Arc<S>, now: UnixTime) -> Result<Self, StoreError> {
        let follower = Self { list: RevocationList::new(), store };
        let all = follower.store.snapshot().await?;
        follower.apply(all, now);
        Ok(follower)
    }

    /// The list it fills.
    pub(crate) const fn list(&self) -> &RevocationList {
        &self.list
    }

    /// Takes in what is new in the store.
    pub(crate) async fn catch_up(&self, now: UnixTime) -> Result<(), StoreError> {
        let known = self.list.position().map_or_else(Default::default, |position| {
            crate::issuer::store::Position { epoch: position.epoch, sequence: position.sequence }
        });
        let changes = self.store.revocations_after(known).await?;
        self.apply(changes, now);
        Ok(())
    }

    fn apply(&self, changes: Changes, now: UnixTime) {
        let position = Position { epoch: changes.position.epoch, sequence: changes.position.sequence };
        let entries: Vec<_> = changes.entries.into_iter().map(entry).collect();
        let applied = match changes.base {
            None => self.list.apply_snapshot(position, now, entries),
            Some(base) => self.list.apply_delta(base, position, now, entries),
        };
        if let Err(error) = applied {
            // Two took in the same news at once; the list has it.
            tracing::debug!(%error, "revocations were known already");
        }
    }

    /// Follows the store, for ever.
    pub(crate) async fn keep_current(self, clock: Arc<dyn Clock>) {
        let mut positions = self.store.watch();
        while positions.changed().await.is_ok() {
            if let Err(error) = self.catch_up(clock.now()).await {
                tracing::error!(%error, "revocations could not be read; trying again at the next");
            }
        }
    }
}

fn entry(entry: RevocationEntry) -> Entry {
    match entry {
        RevocationEntry::Session { id, ends } => Entry::Session { sid: id, ends },
        RevocationEntry::Subject { hash, started_until, ends } => {
            Entry::Subject { hash, up_to: started_until, ends }
        }
        RevocationEntry::Key { id, ends } => Entry::Key { kid: id, ends },
        RevocationEntry::All { started_until, ends } => Entry::All { up_to: started_until, ends },
    }
}
