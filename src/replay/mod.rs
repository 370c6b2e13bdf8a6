//! The nonce cache, which makes single-use tokens and proofs single-use.
//!
//! Two purposes, [tickets](Purpose::Ticket) and [proofs](Purpose::Proof), each
//! with its own entries, capacity and quota, so that neither can replace or
//! crowd out the other. For each, the cache
//!
//! - keeps an entry until its token or proof is too old, by the largest time it
//!   has seen, and refuses what is too old by that time: a clock that steps
//!   back revives nothing;
//! - never drops a live entry: when it is full of them, it refuses and counts
//!   new ones;
//! - allows one session at most 64 live tickets and 1/64 of the proofs, so that
//!   one client can't fill it;
//! - refuses what was issued before its start (plus leeway), since an earlier
//!   process may have accepted it. The start is an argument: a caller that
//!   stores the largest time can pass it, so that a clock that steps back
//!   across a restart revives nothing either.
//!
//! So it is not an LRU cache: a full LRU cache forgets its oldest entry, and
//! that ticket would be accepted twice.
//!
//! # Memory
//!
//! n entries take at most 80 n bytes ([`NonceCache::BYTES_PER_ENTRY`]) and 16
//! kB. Measured: 65 to 70 n with one entry for each session, 38 n with 60. It
//! grows with use, up to the capacity: at most 26 MB for the
//! [default](NonceSettings::default) capacities, both full. A test counts it
//! (`tests/memory/nonces.rs`).

mod shard;
mod single_use;
mod space;

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{ConfigError, Rejection};
use crate::time::UnixTime;

pub use self::single_use::{NonceStats, SingleUse};
use self::space::{Quota, Refused, Space};

/// The purpose of a nonce. Nonces of different purposes never match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// A single-use token.
    Ticket,
    /// A proof of possession for one request.
    Proof,
}

/// Most live entries of each purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonceSettings {
    /// Live tickets, 1 to 2^24. Default 65,536.
    pub tickets: usize,
    /// Live proofs, 1 to 2^24. Default 262,144: a proof lives for about 70 s,
    /// so that is a steady 3,700 a second, and 58 a second for each session.
    pub proofs: usize,
}

impl Default for NonceSettings {
    fn default() -> Self {
        Self { tickets: 1 << 16, proofs: 1 << 18 }
    }
}

/// Used nonces that could be presented again. Clones share one cache.
#[derive(Clone)]
pub struct NonceCache(Arc<Spaces>);

struct Spaces {
    started: UnixTime,
    /// The largest time seen, in seconds.
    latest: AtomicU64,
    tickets: Space,
    proofs: Space,
}

impl NonceCache {
    /// Largest capacity for one purpose.
    pub const MAX_CAPACITY: usize = 1 << 24;
    /// Live tickets that one session may have.
    pub const TICKETS_PER_SESSION: u32 = 64;
    /// One session may use the capacity for proofs divided by this.
    pub const PROOFS_SHARE: usize = 64;
    /// Most bytes for each entry of a full cache, everything included.
    pub const BYTES_PER_ENTRY: usize = 80;

    /// A cache of the default capacities that starts at `started`, normally the
    /// current time.
    #[must_use]
    pub fn new(started: UnixTime) -> Self {
        let NonceSettings { tickets, proofs } = NonceSettings::default();
        Self::sized(tickets, proofs, started)
    }

    /// A cache of other capacities.
    ///
    /// # Errors
    /// [`ConfigError::Builder`] for a capacity outside 1 to 2^24.
    pub fn with_settings(settings: NonceSettings, started: UnixTime) -> Result<Self, ConfigError> {
        let NonceSettings { tickets, proofs } = settings;
        if [tickets, proofs].into_iter().all(|n| (1..=Self::MAX_CAPACITY).contains(&n)) {
            Ok(Self::sized(tickets, proofs, started))
        } else {
            Err(ConfigError::Builder("a nonce cache has a capacity of 1 to 16777216 for each purpose"))
        }
    }

    fn sized(tickets: usize, proofs: usize, started: UnixTime) -> Self {
        let share = u32::try_from(proofs / Self::PROOFS_SHARE).unwrap_or(u32::MAX).max(1);
        Self(Arc::new(Spaces {
            started,
            latest: AtomicU64::new(started.as_secs()),
            tickets: Space::new(tickets, Quota(Self::TICKETS_PER_SESSION)),
            proofs: Space::new(proofs, Quota(share)),
        }))
    }

    /// Accepts `used` if it was never accepted before. Call it last, after
    /// every other check, so that what another check refuses is not used up.
    /// `leeway` is the caller's clock skew.
    ///
    /// # Errors
    /// [`Rejection::Replayed`] if it was accepted before, or may have been: it
    /// was issued before the start plus leeway, or it is too old by the largest
    /// time seen. [`Rejection::Capacity`] if the cache is full, for this
    /// session or in all.
    pub fn admit(
        &self,
        purpose: Purpose,
        used: &SingleUse,
        leeway: Duration,
        now: UnixTime,
    ) -> Result<(), Rejection> {
        let shared = &*self.0;
        // Most calls find that another call has stored this second.
        if shared.latest.load(Ordering::Relaxed) < now.as_secs() {
            shared.latest.fetch_max(now.as_secs(), Ordering::Relaxed);
        }
        let space = shared.space(purpose);
        // The issuer's clock may be ahead by the leeway, so a token from before
        // the start can have a time up to that much after it.
        if used.issued <= shared.started.saturating_add(leeway) {
            return Err(space.refuse(Refused::BeforeStart));
        }
        space.admit(used, &shared.latest).map_err(|why| space.refuse(why))
    }

    /// Its start.
    #[must_use]
    pub fn started(&self) -> UnixTime {
        self.0.started
    }

    /// The counts of entries and refusals.
    #[must_use]
    pub fn stats(&self, purpose: Purpose) -> NonceStats {
        self.0.space(purpose).stats()
    }
}

impl Spaces {
    const fn space(&self, purpose: Purpose) -> &Space {
        match purpose {
            Purpose::Ticket => &self.tickets,
            Purpose::Proof => &self.proofs,
        }
    }
}

impl fmt::Debug for NonceCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonceCache")
            .field("tickets", &self.stats(Purpose::Ticket))
            .field("proofs", &self.stats(Purpose::Proof))
            .finish()
    }
}
