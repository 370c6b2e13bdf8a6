//! Rates per key, in a table of bounded size.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::{Quota, RateLimiter};

use crate::server::config::limits::RateTable;

/// How often a full table is searched for idle keys.
const SWEEP: Duration = Duration::from_secs(1);

/// A rate limiter with a bounded number of governor's cells.
pub(super) struct Rate<K: Hash + Eq + Clone, C: Clock> {
    limiter: RateLimiter<K, Table<K>, C, NoOpMiddleware<C::Instant>>,
    table: Table<K>,
    most: usize,
    interval: Duration,
    /// When the full table was last searched. Held while a key is entered, so
    /// that the bound is exact.
    swept: Mutex<Option<C::Instant>>,
}

impl<K: Hash + Eq + Clone, C: Clock> Rate<K, C> {
    /// Sets this rate for each of at most `most` keys.
    pub(super) fn new(rate: RateTable, most: usize, clock: C) -> Self {
        let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
        let interval = Duration::from_mins(1) / rate.per_minute.max(1);
        // The interval is never zero: a rate has an upper bound.
        let quota = Quota::with_period(interval).unwrap_or_else(|| Quota::per_minute(burst));
        let table = Table(Arc::default());
        Self {
            limiter: RateLimiter::new(quota.allow_burst(burst), table.clone(), clock),
            table,
            most,
            interval,
            swept: Mutex::new(None),
        }
    }

    /// Counts one use; or returns how long to wait, and counts nothing.
    pub(super) fn check(&self, key: &K) -> Result<(), Duration> {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if self.table.len() >= self.most && !self.table.0.contains_key(key) && !self.made_room(&mut swept) {
            // No counted key is evicted to make room: that would reset its
            // count.
            return Err(self.interval);
        }
        self.limiter.check_key(key).map_err(|until| until.wait_time_from(self.limiter.clock().now()))
    }

    /// Removes the keys whose burst is fully restored. Returns whether there is
    /// room.
    fn made_room(&self, swept: &mut Option<C::Instant>) -> bool {
        let now = self.limiter.clock().now();
        if swept.is_some_and(|last| now.duration_since(last) < SWEEP.into()) {
            return false;
        }
        *swept = Some(now);
        self.limiter.retain_recent();
        self.table.len() < self.most
    }

    /// Returns how many keys are counted.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

/// governor's table, shared so that its size can be read.
struct Table<K: Hash + Eq>(Arc<DashMapStateStore<K>>);

impl<K: Hash + Eq> Clone for Table<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Hash + Eq + Clone> StateStore for Table<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, f)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Table<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
