//! Deletes what has ended, and never earlier, even if the clock jumps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::issuer::store::{Store, StoreError};
use crate::time::{Clock, ExpiryClock, UnixTime};

/// How often ended entries are deleted, and how many at a time.
const EVERY: Duration = Duration::from_secs(30);
const BATCH: u32 = 500;
/// How long the audit trail is kept.
const AUDIT_AGE: Duration = Duration::from_hours(90 * 24);

/// Deletes what has ended, for ever.
pub(super) async fn keep_tidy(store: Arc<impl Store>, clock: Arc<dyn Clock>) {
    let (mut expiry, started) = (ExpiryClock::default(), Instant::now());
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = delete(&*store, &mut expiry, clock.now(), started.elapsed()).await {
            tracing::error!(%error, "what has ended could not be deleted");
        }
    }
}

/// Deletes in batches so small that no log-in has to wait for one.
async fn delete(
    store: &impl Store,
    expiry: &mut ExpiryClock,
    wall: UnixTime,
    running: Duration,
) -> Result<(), StoreError> {
    let Some(by) = expiry.at(wall, running) else { return Ok(()) };
    while store.expire(AUDIT_AGE, BATCH, by).await?.more(BATCH) {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;
    use crate::issuer::store::{SqliteStore, Target};
    use crate::time::SystemClock;

    /// A clock that jumps forward and is set back must not make a revoked
    /// session live again.
    #[tokio::test]
    async fn a_jump_of_the_clock_deletes_no_revocation() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        let (start, hour, year) =
            (SystemClock.now(), Duration::from_hours(1), Duration::from_hours(24 * 365));
        let after = |duration| start.saturating_add(duration);
        let target = Target::Session { id: SessionId::from_bytes([7; 16]), ends: Some(after(12 * hour)) };
        store.revoke(target, None, start).await.unwrap();
        let mut expiry = ExpiryClock::default();
        let entries = async || store.snapshot().await.unwrap().entries.len();
        for (wall, running) in [
            (start, Duration::ZERO),
            (after(hour), hour),
            (after(year), hour),
            (after(year + hour), 2 * hour),
            (start, 3 * hour),
            (after(year), 4 * hour),
        ] {
            delete(&store, &mut expiry, wall, running).await.unwrap();
            assert_eq!(entries().await, 1, "deleted at {wall}");
        }
        // Over by every clock, with the margin added.
        delete(&store, &mut expiry, after(18 * hour), 18 * hour).await.unwrap();
        assert_eq!(entries().await, 0);
    }
}
