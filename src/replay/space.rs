//! One purpose's entries, in shards by session.
//!
//! By session and not by nonce, so that one lock covers a session's entries and
//! its quota. The capacity is counted over all shards, since a session with
//! many entries would fill one shard long before the others.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::DefaultHashBuilder;

use crate::error::Rejection;
use crate::replay::shard::{Full, Insertion, Shard};
use crate::replay::{NonceStats, SingleUse};

/// Enough that two cores rarely contend, few enough that a sweep is short.
const SHARDS: usize = 16;

/// Most live entries of one session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota(pub(super) u32);

/// Why something was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Replayed,
    BeforeStart,
    ClockBehind,
    Full,
    OverQuota,
}

pub(super) struct Space {
    capacity: usize,
    quota: Quota,
    hasher: DefaultHashBuilder,
    shards: [Padded; SHARDS],
    /// Entries in all shards.
    entries: AtomicUsize,
    /// The time of the last sweep of all shards.
    swept: AtomicU64,
    /// Held during a sweep.
    sweeping: Mutex<()>,
    refusals: Refusals,
}

/// Aligned to two cache lines, since CPUs fetch them in pairs, so that one lock
/// does not slow another.
#[derive(Default)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

#[derive(Default)]
struct Refusals {
    replayed: AtomicU64,
    before_start: AtomicU64,
    clock_behind: AtomicU64,
    full: AtomicU64,
    over_quota: AtomicU64,
}

impl Space {
    pub(super) fn new(capacity: usize, quota: Quota) -> Self {
        Self {
            capacity,
            quota,
            hasher: DefaultHashBuilder::default(),
            shards: Default::default(),
            entries: AtomicUsize::new(0),
            swept: AtomicU64::new(0),
            sweeping: Mutex::new(()),
            refusals: Refusals::default(),
        }
    }

    /// Accepts `used`, once. `latest` is the largest time seen.
    pub(super) fn admit(&self, used: &SingleUse, latest: &AtomicU64) -> Result<(), Refused> {
        match self.try_admit(used, latest) {
            // Full, but perhaps of expired entries in idle shards.
            Err(Refused::Full) if self.sweep(latest.load(Ordering::Relaxed)) => self.try_admit(used, latest),
            verdict => verdict,
        }
    }

    fn try_admit(&self, used: &SingleUse, latest: &AtomicU64) -> Result<(), Refused> {
        let holder = self.hasher.hash_one(used.session.as_bytes());
        let mut shard = self.lock(holder);
        // Read under the lock: a thread that dropped an entry under it had
        // stored the time by which that entry expired in `latest`. So this
        // reads that time or a later one, and refuses what was dropped.
        let latest = latest.load(Ordering::Relaxed);
        self.drop_over(&mut shard, latest);
        if used.until.as_secs() <= latest {
            return Err(Refused::ClockBehind);
        }
        let reserve = || {
            self.entries
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.capacity).then_some(n + 1))
                .map(drop)
                .map_err(|_| Full)
        };
        match shard.insert(used, holder, self.quota.0, &self.hasher, reserve) {
            Insertion::Inserted => Ok(()),
            Insertion::There => Err(Refused::Replayed),
            Insertion::OverQuota => Err(Refused::OverQuota),
            Insertion::Full => Err(Refused::Full),
        }
    }

    /// Drops the entries that expired by `latest` from every shard, at most
    /// once a second; `false` if it was done before.
    fn sweep(&self, latest: u64) -> bool {
        let done = || self.swept.load(Ordering::Acquire) >= latest;
        if done() {
            return false;
        }
        let _sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        if !done() {
            for shard in &self.shards {
                let mut shard = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
                self.drop_over(&mut shard, latest);
            }
            self.swept.store(latest, Ordering::Release);
        }
        true
    }

    fn drop_over(&self, shard: &mut Shard, latest: u64) {
        let dropped = shard.drop_over(latest, &self.hasher);
        if dropped > 0 {
            self.entries.fetch_sub(dropped, Ordering::Relaxed);
        }
    }

    fn lock(&self, holder: u64) -> MutexGuard<'_, Shard> {
        // Neither the lowest nor the highest bits, which the shard's table
        // uses.
        let shard = (holder >> 40) as usize % SHARDS;
        self.shards[shard].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal and converts it.
    pub(super) fn refuse(&self, why: Refused) -> Rejection {
        let refusals = &self.refusals;
        let (counter, rejection) = match why {
            Refused::Replayed => (&refusals.replayed, Rejection::Replayed),
            Refused::BeforeStart => (&refusals.before_start, Rejection::Replayed),
            Refused::ClockBehind => (&refusals.clock_behind, Rejection::Replayed),
            Refused::Full => (&refusals.full, Rejection::Capacity),
            Refused::OverQuota => (&refusals.over_quota, Rejection::Capacity),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        rejection
    }

    pub(super) fn stats(&self) -> NonceStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let refusals = &self.refusals;
        NonceStats {
            entries: self.entries.load(Ordering::Relaxed),
            capacity: self.capacity,
            replayed: read(&refusals.replayed),
            before_start: read(&refusals.before_start),
            clock_behind: read(&refusals.clock_behind),
            full: read(&refusals.full),
            over_quota: read(&refusals.over_quota),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;
    use crate::time::UnixTime;

    #[test]
    fn sessions_are_spread_over_the_shards() {
        let space = Space::new(1 << 12, Quota(1));
        let mut taken = std::collections::BTreeSet::new();
        for n in 0..1_000_u128 {
            let session = SessionId::from_bytes(n.to_be_bytes());
            let at = UnixTime::saturating_from_secs;
            let used = SingleUse { session, nonce: n.to_be_bytes(), issued: at(1), until: at(9) };
            assert_eq!(space.admit(&used, &AtomicU64::new(2)), Ok(()));
            let shard = space.lock(space.hasher.hash_one(session.as_bytes()));
            taken.insert(std::ptr::from_ref(&*shard).addr());
        }
        assert_eq!(taken.len(), SHARDS);
    }
}
