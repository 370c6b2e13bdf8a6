//! Counts by key in time windows, in bounded memory: when it is full, it
//! forgets the least recently seen key.

use core::hash::{BuildHasher, Hash};
use std::hash::RandomState;
use std::time::Duration;

use lru::LruCache;
use smallvec::SmallVec;

use super::rules::Rule;
use crate::time::UnixTime;

/// The hash of a key or a thing with a random seed, so that nobody can choose
/// two that collide.
pub(super) type Hashed = u64;

/// Hashes for one detector.
#[derive(Clone, Default)]
pub(super) struct Seed(RandomState);

impl Seed {
    pub(super) fn hash(&self, thing: impl Hash) -> Hashed {
        self.0.hash_one(thing)
    }
}

/// A map that evicts the least recently used key.
pub(super) struct Bounded<V> {
    entries: LruCache<Hashed, V>,
    room: usize,
}

impl<V> Bounded<V> {
    pub(super) fn new(room: usize) -> Self {
        // Allocates as keys come, not before.
        Self { entries: LruCache::unbounded(), room }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn entry(&mut self, key: Hashed, new: impl FnOnce() -> V) -> &mut V {
        if self.entries.len() >= self.room && !self.entries.contains(&key) {
            self.entries.pop_lru();
        }
        self.entries.get_or_insert_mut(key, new)
    }
}

/// Returns whether `at` is in the window that began at `start`. An event a
/// little before `start` came late; one a whole window before it is from
/// another clock.
fn within(start: UnixTime, at: UnixTime, window: Duration) -> bool {
    at.since(start) < window && start.since(at) < window
}

/// Counts by key.
pub(super) type Counts = Bounded<(UnixTime, u32)>;

impl Counts {
    /// Counts one more. Returns the count in the window once it reaches the
    /// threshold.
    pub(super) fn add(&mut self, key: Hashed, at: UnixTime, rule: Rule) -> Option<u64> {
        let (start, count) = self.entry(key, || (at, 0));
        if !within(*start, at, rule.window()) {
            (*start, *count) = (at, 0);
        }
        *count = count.saturating_add(1);
        (*count >= rule.threshold()).then_some(u64::from(*count))
    }
}

/// Counts different things by key. It remembers as many as the threshold.
pub(super) type Distinct = Bounded<(UnixTime, SmallVec<[Hashed; 2]>)>;

impl Distinct {
    /// Adds one. Returns the number of different things in the window once it
    /// reaches the threshold. Above that, repeated things count too.
    pub(super) fn add(&mut self, key: Hashed, thing: Hashed, at: UnixTime, rule: Rule) -> Option<u64> {
        let (start, things) = self.entry(key, || (at, SmallVec::new()));
        if !within(*start, at, rule.window()) {
            *start = at;
            *things = SmallVec::new();
        }
        let enough = rule.threshold() as usize;
        if things.len() < enough && !things.contains(&thing) {
            things.push(thing);
        }
        (things.len() >= enough).then_some(things.len() as u64)
    }
}

/// The time of the last report for each key.
pub(super) type Said = Bounded<UnixTime>;

impl Said {
    /// Returns whether to report it: once in a window.
    pub(super) fn say(&mut self, key: Hashed, at: UnixTime, window: Duration) -> bool {
        let mut is_new = false;
        let last = self.entry(key, || {
            is_new = true;
            at
        });
        if !is_new && within(*last, at, window) {
            return false;
        }
        *last = at;
        true
    }
}
