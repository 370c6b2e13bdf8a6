//! The feed client's task.

use core::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::http::{Answer, Ask};
use super::spawn_blocking::spawn_blocking;
use super::{Delivery, FeedClient, SyncError, Trust};
use crate::error::Malformed;
use crate::revocation::{Feed, FeedError, FeedKeys, OutOfOrder, Position};
use crate::time::ExpiryClock;

/// Feeds with more entries are applied on a blocking thread.
const LARGE_FEED: usize = 1000;
/// After a stream that lived this long, the next attempt is at once.
const STABLE: Duration = Duration::from_secs(5);
/// How long long polls replace events that did not get through.
const WITHOUT_EVENTS: Duration = Duration::from_mins(10);
/// Time between two long polls, which collects revocations.
const BETWEEN_POLLS: Duration = Duration::from_millis(50);
/// The same after an immediate answer without news.
const IDLE_POLL: Duration = Duration::from_millis(300);
/// How often ended entries are dropped.
const EXPIRE_EVERY: Duration = Duration::from_mins(5);

/// The task's state between connections.
struct Progress {
    trusted: Arc<FeedKeys>,
    /// A snapshot is needed: a delta does not follow the list's position, or
    /// too many are stored.
    needs_snapshot: bool,
    /// A refresh was requested.
    refreshing: bool,
    without_events_until: Option<Instant>,
    etag: Option<String>,
    expired: Instant,
    expiry: ExpiryClock,
    started: Instant,
}

impl FeedClient {
    pub(super) async fn follow_for_ever(mut self) -> Infallible {
        let trusted = self.trusted().await;
        self.start_from_cache(&trusted).await;
        let mut progress = Progress {
            trusted,
            needs_snapshot: false,
            refreshing: false,
            without_events_until: None,
            etag: None,
            expired: Instant::now(),
            expiry: ExpiryClock::default(),
            started: Instant::now(),
        };
        loop {
            let started = Instant::now();
            let outcome = self.follow(&mut progress).await;
            if started.elapsed() >= STABLE {
                self.backoff.reset();
            }
            let pause = outcome.unwrap_or_else(|error| {
                self.note(error);
                self.backoff.next()
            });
            tokio::select! {
                () = sleep(pause) => {}
                () = self.handle.0.refresh.wanted.notified() => progress.refreshing = true,
            }
        }
    }

    /// One connection. Returns how long to wait before the next.
    async fn follow(&mut self, progress: &mut Progress) -> Result<Duration, SyncError> {
        let position = self.list().position().filter(|_| !progress.needs_snapshot);
        match (self.delivery, position) {
            (Delivery::Poll { every }, _) => self.poll(progress, every).await,
            (_, None) => self.fetch_snapshot(progress).await.map(|()| Duration::ZERO),
            (delivery, Some(position)) => self.subscribe(progress, delivery, position).await,
        }
    }

    async fn fetch_snapshot(&mut self, progress: &mut Progress) -> Result<(), SyncError> {
        let mut answer = self.http.ask(Ask::Snapshot(None)).await?.ok_or(Malformed::Empty)?;
        self.take_only(progress, &mut answer).await
    }

    async fn poll(&mut self, progress: &mut Progress, every: Duration) -> Result<Duration, SyncError> {
        if let Some(mut answer) = self.http.ask(Ask::Snapshot(progress.etag.as_deref())).await? {
            self.take_only(progress, &mut answer).await?;
            progress.etag = answer.etag;
        }
        self.backoff.reset();
        Ok(every)
    }

    async fn subscribe(
        &mut self,
        progress: &mut Progress,
        delivery: Delivery,
        position: Position,
    ) -> Result<Duration, SyncError> {
        let refreshing = core::mem::take(&mut progress.refreshing);
        let with_events = delivery == Delivery::Events
            && progress.without_events_until.is_none_or(|until| until <= Instant::now());
        let ask = match (with_events, refreshing) {
            (true, _) => Ask::Events(position),
            (false, true) => Ask::Now(position),
            (false, false) => Ask::Next(position),
        };
        let asked = Instant::now();
        let refresh = Arc::clone(&self.handle.0.refresh);
        let answer = tokio::select! {
            answer = self.http.ask(ask) => answer?,
            () = refresh.wanted.notified() => {
                progress.refreshing = true;
                return Ok(Duration::ZERO);
            }
        };
        let mut answer = answer.ok_or(Malformed::Empty)?;
        if answer.is_stream() {
            return self.follow_events(progress, &mut answer).await;
        }
        self.take_only(progress, &mut answer).await?;
        self.backoff.reset();
        let news = self.list().position() != Some(position);
        Ok(if news || asked.elapsed() >= Duration::from_secs(1) { BETWEEN_POLLS } else { IDLE_POLL })
    }

    async fn follow_events(
        &mut self,
        progress: &mut Progress,
        answer: &mut Answer,
    ) -> Result<Duration, SyncError> {
        let refresh = Arc::clone(&self.handle.0.refresh);
        let mut got_through = false;
        loop {
            let next = tokio::select! {
                next = self.http.next_feed(answer, &progress.trusted, &self.clock) => next,
                // The first event of a new connection comes at once.
                () = refresh.wanted.notified() => return Ok(Duration::ZERO),
            };
            if !got_through && matches!(next, Ok(None) | Err(SyncError::TimedOut(_))) {
                tracing::info!("no events get through from the issuer; asking by long poll for a while");
                progress.without_events_until = Some(Instant::now() + WITHOUT_EVENTS);
            }
            let Some(feed) = next? else {
                if got_through {
                    // The issuer ends each stream after a while; that is no
                    // failure.
                    self.backoff.reset();
                }
                return Ok(self.backoff.next());
            };
            got_through = true;
            match self.take(progress, feed).await {
                Err(error) if is_replay(&error) => self.note(error),
                taken => taken?,
            }
            if progress.needs_snapshot {
                return Ok(Duration::ZERO);
            }
        }
    }

    /// Applies an answer that is one feed.
    async fn take_only(&mut self, progress: &mut Progress, answer: &mut Answer) -> Result<(), SyncError> {
        let feed = self.http.next_feed(answer, &progress.trusted, &self.clock).await?;
        self.take(progress, feed.ok_or(Malformed::Empty)?).await
    }

    /// Applies a feed and stores it.
    async fn take(&mut self, progress: &mut Progress, feed: Feed) -> Result<(), SyncError> {
        let now = self.clock.now();
        let feed = Arc::new(feed);
        let (list, keys) = (self.list().clone(), self.keys().clone());
        let applied = if feed.len() < LARGE_FEED {
            feed.apply(&list, &keys, now)
        } else {
            let feed = Arc::clone(&feed);
            spawn_blocking(move || feed.apply(&list, &keys, now)).await
        };
        let gap = matches!(applied, Err(FeedError::OutOfOrder(OutOfOrder::Gap { .. })));
        progress.needs_snapshot = gap || (progress.needs_snapshot && feed.base().is_some());
        applied?;
        let list = self.list().snapshot();
        self.handle.0.status.send_modify(|status| {
            status.position = list.position();
            status.as_of = list.as_of();
            status.last_success = Some(now);
            status.failures = 0;
        });
        drop(list);
        if let Some(cache) = &mut self.cache {
            progress.needs_snapshot |= cache.keep(&feed);
            cache.write();
        }
        if progress.expired.elapsed() >= EXPIRE_EVERY {
            progress.expired = Instant::now();
            // Not by the wall clock alone, which may be set.
            if let Some(by) = progress.expiry.at(now, progress.started.elapsed()) {
                let list = self.list().clone();
                spawn_blocking(move || list.expire(by)).await;
            }
        }
        Ok(())
    }

    /// Returns the pinned feed keys; fetches them on first use.
    async fn trusted(&mut self) -> Arc<FeedKeys> {
        if let Trust::Pinned(keys) = &self.trust {
            return Arc::clone(keys);
        }
        loop {
            match self.trust_on_first_use().await {
                Ok(keys) => {
                    self.backoff.reset();
                    return Arc::new(keys);
                }
                Err(error) => {
                    self.note(error);
                    sleep(self.backoff.next()).await;
                }
            }
        }
    }

    async fn trust_on_first_use(&self) -> Result<FeedKeys, SyncError> {
        if let Some(cache) = &self.cache
            // An unreadable pin must not lead to trusting other keys.
            && let Some(pinned) = cache.pinned().map_err(|why| SyncError::FeedKeys(why.to_string()))?
        {
            return Ok(pinned);
        }
        let keys = self.http.feed_keys().await?;
        let ids: Vec<_> = keys.iter().map(|key| key.id().to_string()).collect();
        tracing::warn!(
            keys = ids.join(" "),
            "TRUSTING THE ISSUER'S FEED KEYS ON FIRST USE: compare them with 'hallpass key list' there, \
             or pin them with --trust"
        );
        match self.cache.as_ref().map(|cache| cache.pin(&keys)) {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::warn!(%error, "the feed keys can't be pinned: the next start trusts anew");
            }
            None => tracing::warn!("without a cache directory the next start trusts anew"),
        }
        Ok(keys)
    }

    async fn start_from_cache(&mut self, trusted: &Arc<FeedKeys>) {
        let Some(mut cache) = self.cache.take() else { return };
        let (trusted, now) = (Arc::clone(trusted), self.clock.now());
        let (list, keys) = (self.list().clone(), self.keys().clone());
        let (cache, loaded) = spawn_blocking(move || {
            let loaded = cache.load(&trusted, &list, &keys, now);
            (cache, loaded)
        })
        .await;
        self.cache = Some(cache);
        if let Err(error) = loaded {
            tracing::warn!(%error, "the feed that was kept on disk can't be used");
        }
        let list = self.list().snapshot();
        self.handle.0.status.send_modify(|status| {
            status.position = list.position();
            status.as_of = list.as_of();
        });
    }

    /// Records a failure. A continuing failure is logged once.
    fn note(&self, error: SyncError) {
        let now = self.clock.now();
        self.handle.0.status.send_modify(|status| {
            let is_new = status.failures == 0
                || status.last_error.as_ref().is_none_or(|(_, last)| !is_same_kind(last, &error));
            if is_new {
                tracing::warn!(%error, as_of = ?status.as_of, "the revocation feed was not taken");
            } else {
                tracing::debug!(%error, "the revocation feed was not taken again");
            }
            status.failures += 1;
            status.last_error = Some((now, error));
        });
    }
}

fn is_replay(error: &SyncError) -> bool {
    matches!(
        error,
        SyncError::Feed(FeedError::OutOfOrder(OutOfOrder::Backwards { .. }) | FeedError::Older { .. })
    )
}

fn is_same_kind(a: &SyncError, b: &SyncError) -> bool {
    core::mem::discriminant(a) == core::mem::discriminant(b)
}
