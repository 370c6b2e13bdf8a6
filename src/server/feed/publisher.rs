//! The signed feed as edges fetch it: signed when asked for, at most once for
//! each base and every few seconds, however many edges ask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::sync::{Mutex, watch};

use crate::issuer::store::Store;
use crate::revocation::Position;
use crate::revocation::feed::{NewFeed, SessionKey};
use crate::server::feed::keyring::Keyring;
use crate::server::observe::metrics::Metrics;
use crate::time::{Clock, UnixTime};

/// Signed again after this long, so that an edge's list is hardly older.
pub(crate) const RESIGN: Duration = Duration::from_secs(5);
/// How long a signed feed may be on its way to an edge.
const IN_TRANSIT: Duration = Duration::from_mins(5);
/// How many bases are kept signed: the newest, and edges that are a little behind.
const KEPT: usize = 16;

/// A feed, signed.
#[derive(Clone)]
pub(crate) struct Signed {
    /// What it starts from; `None` is a snapshot.
    base: Option<u64>,
    pub(crate) position: Position,
    pub(crate) issued_at: UnixTime,
    /// The session keys in it.
    keys: Arc<[SessionKey]>,
    pub(crate) parts: Arc<[Bytes]>,
}

impl Signed {
    /// All parts after each other: a CBOR sequence.
    pub(crate) fn body(&self) -> Bytes {
        match &*self.parts {
            [only] => only.clone(),
            parts => parts.concat().into(),
        }
    }
}

/// Signs what is in the store.
pub(crate) struct Publisher<S> {
    store: Arc<S>,
    keyring: Keyring,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    signed: Mutex<Vec<Signed>>,
}

impl<S: Store> Publisher<S> {
    pub(crate) fn new(store: Arc<S>, keyring: Keyring, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        Self { store, keyring, clock, metrics, signed: Mutex::default() }
    }

    /// Is told of new revocations.
    pub(crate) fn watch(&self) -> watch::Receiver<Position> {
        self.store.watch()
    }

    /// What an edge needs that is at `after`, or that knows nothing.
    pub(crate) async fn feed(&self, after: Option<Position>) -> anyhow::Result<Signed> {
        let feed = self.signed(after).await;
        if feed.is_err() {
            self.metrics.feed_refused();
        }
        feed
    }

    async fn signed(&self, after: Option<Position>) -> anyhow::Result<Signed> {
        // Whoever waits here for another's signature finds it done.
        let mut signed = self.signed.lock().await;
        // Read before the entries are: the feed says that nothing acknowledged
        // before this second is missing.
        let now = self.clock.now();
        let newest = self.store.position().await?;
        let keys: Arc<[SessionKey]> = self.keyring.published(now).into();
        signed.retain(|one| {
            one.position == newest
                && one.keys == keys
                && now.since(one.issued_at) < RESIGN
                && one.issued_at <= now
        });
        let base = after.filter(|after| after.epoch == newest.epoch).map(|after| after.sequence);
        if let Some(found) = signed.iter().find(|one| one.base == base) {
            return Ok(found.clone());
        }
        let started = Instant::now();
        let changes = match after {
            Some(after) => self.store.revocations_after(after).await?,
            None => self.store.snapshot().await?,
        };
        let key = self.keyring.feed_key(now)?;
        let (base, position) = (changes.base, changes.position);
        let session_keys = Arc::clone(&keys);
        // A million entries take a while.
        let parts = tokio::task::spawn_blocking(move || {
            let feed = NewFeed {
                position,
                base,
                issued_at: now,
                expires_at: now.saturating_add(IN_TRANSIT),
                session_keys: &session_keys,
            };
            feed.sign(&key, changes.entries)
        })
        .await??;
        let one = Signed {
            base,
            position,
            issued_at: now,
            keys,
            parts: parts.into_iter().map(Bytes::from).collect(),
        };
        self.metrics.feed_signed(now, started.elapsed());
        if signed.len() == KEPT {
            signed.remove(0);
        }
        signed.push(one.clone());
        Ok(one)
    }
}
