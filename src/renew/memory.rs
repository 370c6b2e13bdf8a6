//! What the issuer has said about tokens, for a while and for so many.

use core::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::time::Instant;

use super::successor::{Begun, Renewed, Successor, Waiting};
use crate::id::TokenId;
use crate::time::UnixTime;

/// Fewest tokens to remember.
pub(super) const LEAST: usize = 1_000;
const SHARDS: usize = 16;

/// What is known of one token.
pub(super) enum Known {
    /// The issuer is being asked.
    Asked { text: Arc<str>, waiting: Waiting },
    /// Renewed; given out without asking until then.
    Renewed { text: Arc<str>, next: Renewed, until: UnixTime },
    /// The issuer knows it and does not renew it before then.
    NotDue { again: UnixTime },
    /// Not renewed, and not to be asked again before then.
    Not { said: Successor, again: Instant },
}

impl Known {
    /// What it means for a request with `token`; `None` if the issuer is to be
    /// asked. `due` tells a renewal from a confirmation, for which nobody waits.
    fn begun(&self, token: &str, due: bool, now: UnixTime) -> Option<Begun> {
        let known = match self {
            // A closed channel: the task has died with its runtime.
            Self::Asked { text, waiting } if **text == *token && waiting.answer.has_changed().is_ok() => {
                if due {
                    return Some(Begun::Waiting(waiting.clone()));
                }
                Successor::NotDue
            }
            Self::Renewed { text, next, until } if **text == *token && now < *until => {
                Successor::Renewed(next.clone())
            }
            Self::NotDue { again } if now < *again => Successor::NotDue,
            Self::Not { said, again } if Instant::now() < *again => said.clone(),
            _ => return None,
        };
        Some(Begun::Known(known))
    }
}

pub(super) struct Memory {
    /// A token's shard is chosen by its id, which is random, so that two cores
    /// seldom want the same.
    shards: Box<[Mutex<LruCache<TokenId, Known>>]>,
}

impl Memory {
    pub(super) fn new(capacity: usize) -> Self {
        let each = NonZeroUsize::new(capacity / SHARDS).unwrap_or(NonZeroUsize::MIN);
        // They grow as tokens come.
        let shard = || {
            let mut shard = LruCache::unbounded();
            shard.resize(each);
            Mutex::new(shard)
        };
        Self { shards: (0..SHARDS).map(|_| shard()).collect() }
    }

    /// The place of one token.
    pub(super) fn of(&self, id: TokenId) -> LockedEntry<'_> {
        let [first, ..] = id.as_bytes();
        let shard = &self.shards[usize::from(*first) % SHARDS];
        LockedEntry { id, shard: shard.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

/// One token's place, locked.
pub(super) struct LockedEntry<'a> {
    id: TokenId,
    shard: MutexGuard<'a, LruCache<TokenId, Known>>,
}

impl LockedEntry<'_> {
    pub(super) fn get(&mut self, token: &str, due: bool, now: UnixTime) -> Option<Begun> {
        self.shard.get(&self.id)?.begun(token, due, now)
    }

    pub(super) fn put(&mut self, known: Known) {
        self.shard.put(self.id, known);
    }

    pub(super) fn forget(&mut self) {
        self.shard.pop(&self.id);
    }
}
