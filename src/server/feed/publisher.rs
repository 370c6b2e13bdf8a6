//! The signed feed as edges fetch it. The work is bounded whatever clients ask
//! for. For one position and every few seconds, it signs at most one snapshot,
//! one re-signing, and one delta from each of a few bases.
//!
//! Only requests for a snapshot wait for one. Shared work is read and signed
//! once, in a task that outlives the request that started it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::error::ConfigError;
use crate::issuer::store::{Store, StoreError};
use crate::revocation::feed::{NewFeed, SessionKey};
use crate::revocation::{Entry, FeedLifetimes, Position};
use crate::server::feed::bases::Bases;
use crate::server::feed::flight::Flight;
use crate::server::feed::keyring::Keyring;
use crate::server::feed::signed::Signed;
use crate::server::observe::metrics::Metrics;
use crate::time::{Clock, UnixTime};

/// The feed is signed again after this long, which bounds the age of an edge's
/// list.
pub(crate) const RESIGN: Duration = Duration::from_secs(5);
/// How long a signed feed may take to reach an edge.
const IN_TRANSIT: Duration = Duration::from_mins(5);
/// Time between two reads of the newest position. Many revocations in a row
/// then make few positions, and an edge slightly behind is at a recent one.
const PACE: Duration = Duration::from_millis(25);
/// After a snapshot, the next waits this many times as long as it took, so that
/// snapshots can't use up a core. At most [`LONGEST_REST`].
const REST: u32 = 4;
const LONGEST_REST: Duration = Duration::from_secs(2);

/// Why there is no feed; shared by all who waited for it.
#[derive(Clone, Debug, Error)]
pub(crate) enum PublishError {
    #[error("the revocations can't be read: {0}")]
    Store(#[source] Arc<StoreError>),
    #[error("the feed can't be signed: {0}")]
    Sign(#[source] Arc<ConfigError>),
    #[error("the task that makes the feed ended early")]
    Ended,
}

impl From<StoreError> for PublishError {
    fn from(why: StoreError) -> Self {
        Self::Store(Arc::new(why))
    }
}

impl From<ConfigError> for PublishError {
    fn from(why: ConfigError) -> Self {
        Self::Sign(Arc::new(why))
    }
}

/// The result that all requests for the same feed share.
type Published = Result<Arc<Signed>, PublishError>;

/// Signs the store's revocations.
pub(crate) struct Publisher<S>(Arc<Inner<S>>);

struct Inner<S> {
    store: Arc<S>,
    keyring: Keyring,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    /// For edges that are not configured.
    lifetimes: FeedLifetimes,
    /// Held for look-ups only, never during a store call or a signature.
    state: Mutex<State>,
    heads: Flight<Result<(), PublishError>>,
    snapshots: Flight<Result<(), PublishError>>,
}

#[derive(Default)]
struct State {
    head: Option<Arc<Head>>,
    bases: Bases,
    snapshot: Option<Arc<Signed>>,
    /// When the next snapshot may be made.
    rested: Option<Instant>,
}

impl State {
    fn pin(&mut self, snapshot: Position) {
        let newest = self.head.as_ref().map(|head| head.position);
        if let Some(newest) = newest.filter(|newest| newest.epoch == snapshot.epoch) {
            self.bases.pin(snapshot.sequence, newest.sequence);
        }
    }

    fn take(&mut self, head: Head, news: Option<(u64, Vec<Entry>)>) {
        let newest = head.position.sequence;
        match news {
            Some((base, _)) if base == newest => {}
            Some((base, entries)) => self.bases.extend(base, newest, entries),
            None => self.bases.clear(),
        }
        self.head = Some(Arc::new(head));
    }
}

/// The newest position, when it was read, and what has been signed for it.
struct Head {
    position: Position,
    /// Read before the position was. So the feed can claim that nothing
    /// acknowledged before this second is missing.
    issued_at: UnixTime,
    read: Instant,
    keys: Arc<[SessionKey]>,
    deltas: Mutex<BTreeMap<u64, Arc<OnceLock<Published>>>>,
}

impl<S: Store + 'static> Publisher<S> {
    pub(crate) fn new(
        store: Arc<S>,
        keyring: Keyring,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        lifetimes: FeedLifetimes,
    ) -> Self {
        let (state, heads, snapshots) = (Mutex::default(), Flight::default(), Flight::default());
        Self(Arc::new(Inner { store, keyring, clock, metrics, lifetimes, state, heads, snapshots }))
    }

    /// Returns a receiver that changes with each new revocation.
    pub(crate) fn watch(&self) -> watch::Receiver<Position> {
        self.0.store.watch()
    }

    /// Returns the feed for an edge at `after`, or for one with no list.
    pub(crate) async fn feed(&self, after: Option<Position>) -> Published {
        let feed = self.0.feed(after).await;
        if feed.is_err() {
            self.0.metrics.feed_refused();
        }
        feed
    }
}

impl<S: Store + 'static> Inner<S> {
    async fn feed(self: &Arc<Self>, after: Option<Position>) -> Published {
        let known = *self.store.watch().borrow();
        self.read_head(known).await?;
        match after.and_then(|after| self.delta(after)) {
            Some(delta) => delta,
            None => self.snapshot(known).await,
        }
    }

    /// Makes sure that the head is at `known` or later.
    async fn read_head(self: &Arc<Self>, known: Position) -> Result<(), PublishError> {
        // A read that began before `known` existed may miss it, so join a
        // second one.
        for _ in 0..2 {
            let is_fresh = |head: &Arc<Head>| self.is_fresh(head.position, head.issued_at, &head.keys, known);
            if self.state().head.as_ref().is_some_and(is_fresh) {
                return Ok(());
            }
            self.heads.join(|| Arc::clone(self).next_head()).await.ok_or(PublishError::Ended)??;
        }
        Ok(())
    }

    fn is_fresh(&self, at: Position, issued_at: UnixTime, keys: &[SessionKey], known: Position) -> bool {
        let now = self.clock.now();
        at >= known
            && issued_at <= now
            && now.since(issued_at) < RESIGN
            && *keys == *self.keyring.published(now)
    }

    async fn next_head(self: Arc<Self>) -> Result<(), PublishError> {
        let last = self.state().head.clone();
        if let Some(last) = &last {
            sleep_until(last.read + PACE).await;
        }
        let (read, now) = (Instant::now(), self.clock.now());
        let epoch = self.store.watch().borrow().epoch;
        let last = last.map(|last| last.position).filter(|last| last.epoch == epoch);
        let mut news = None;
        let position = if let Some(last) = last {
            let changes = self.store.revocations_after(last).await?;
            news = changes.base.map(|base| (base, changes.entries));
            changes.position
        } else {
            self.store.position().await?
        };
        let keys = self.keyring.published(now).into();
        let head = Head { position, issued_at: now, read, keys, deltas: Mutex::default() };
        self.state().take(head, news);
        Ok(())
    }

    /// Returns the delta from `after` on; `None` if that is not a base.
    fn delta(&self, after: Position) -> Option<Published> {
        let state = self.state();
        let head = Arc::clone(state.head.as_ref()?);
        if after.epoch != head.position.epoch {
            return None;
        }
        let base = after.sequence;
        if let Some(signed) = lock(&head.deltas).get(&base).and_then(|delta| delta.get().cloned()) {
            return Some(signed);
        }
        let entries = if base == head.position.sequence { Vec::new() } else { state.bases.since(base)? };
        drop(state);
        let delta = Arc::clone(lock(&head.deltas).entry(base).or_default());
        let sign = || self.sign(Some(base), head.position, head.issued_at, &head.keys, entries);
        let signed = delta.get_or_init(sign).clone();
        if signed.is_err() {
            // The next caller tries again.
            lock(&head.deltas).remove(&base);
        }
        Some(signed)
    }

    async fn snapshot(self: &Arc<Self>, known: Position) -> Published {
        for _ in 0..2 {
            let is_fresh = |one: &&Arc<Signed>| self.is_fresh(one.position, one.issued_at, &one.keys, known);
            if let Some(fresh) = self.state().snapshot.as_ref().filter(is_fresh) {
                return Ok(Arc::clone(fresh));
            }
            self.snapshots.join(|| Arc::clone(self).next_snapshot()).await.ok_or(PublishError::Ended)??;
        }
        // However long it took, it began after this call.
        self.state().snapshot.clone().ok_or(PublishError::Ended)
    }

    async fn next_snapshot(self: Arc<Self>) -> Result<(), PublishError> {
        let rested = self.state().rested;
        if let Some(rested) = rested {
            sleep_until(rested).await;
        }
        let (started, now) = (Instant::now(), self.clock.now());
        let changes = self.store.snapshot().await?;
        let position = changes.position;
        // A client that gets this snapshot asks for a delta from its position
        // next.
        self.state().pin(position);
        self.read_head(position).await?;
        let keys: Arc<[SessionKey]> = self.keyring.published(now).into();
        let this = Arc::clone(&self);
        // Signing a million entries takes a while.
        let signing =
            tokio::task::spawn_blocking(move || this.sign(None, position, now, &keys, changes.entries));
        let signed = signing.await.map_err(|_| PublishError::Ended)?;
        let mut state = self.state();
        state.rested = Some(Instant::now() + (started.elapsed() * REST).min(LONGEST_REST));
        state.snapshot = Some(signed?);
        drop(state);
        Ok(())
    }

    fn sign(
        &self,
        base: Option<u64>,
        position: Position,
        issued_at: UnixTime,
        keys: &Arc<[SessionKey]>,
        entries: Vec<Entry>,
    ) -> Published {
        let started = Instant::now();
        let key = self.keyring.feed_key(issued_at)?;
        let expires_at = issued_at.saturating_add(IN_TRANSIT);
        let feed = NewFeed {
            position,
            base,
            issued_at,
            expires_at,
            session_keys: keys,
            lifetimes: Some(self.lifetimes),
        };
        let parts = feed.sign(&key, entries)?;
        self.metrics.feed_signed(issued_at, started.elapsed());
        Ok(Arc::new(Signed::new(base.is_none(), position, issued_at, Arc::clone(keys), parts)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
