//! A bounded memory of the issuer's answers.

use core::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::time::Instant;

use super::successor::{Begun, Renewed, Successor, Waiting};
use crate::id::TokenId;
use crate::time::UnixTime;

/// Smallest capacity.
pub(super) const LEAST: usize = 1_000;
const SHARDS: usize = 16;

/// The state of one token.
pub(super) enum Known {
    /// A request is under way.
    Asked { text: Arc<str>, waiting: Waiting },
    /// Renewed; the successor is handed out without a request until then.
    Renewed { text: Arc<str>, next: Renewed, until: UnixTime },
    /// Not due before then.
    NotDue { again: UnixTime },
    /// Refused; not asked again before then.
    Not { said: Successor, again: Instant },
}

impl Known {
    /// What a request with `token` gets; `None` if the issuer must be asked.
    /// `due` is false for a confirmation, for which no request waits.
    fn begun(&self, token: &str, due: bool, now: UnixTime) -> Option<Begun> {
        let known = match self {
            // A closed channel: the task ended with its runtime.
            Self::Asked { text, waiting } if **text == *token && waiting.answer.has_changed().is_ok() => {
                if due {
                    return Some(Begun::Waiting(waiting.clone()));
                }
                Successor::NotDue
            }
            Self::Renewed { text, next, until }
                if **text == *token && now < *until && now < next.session().expires_at() =>
            {
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
    /// A token's random id selects its shard, so two cores seldom contend.
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

    /// The entry of one token.
    pub(super) fn of(&self, id: TokenId) -> LockedEntry<'_> {
        let [first, ..] = id.as_bytes();
        let shard = &self.shards[usize::from(*first) % SHARDS];
        LockedEntry { id, shard: shard.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

/// One token's entry, locked.
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
