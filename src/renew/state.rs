//! The state that the client shares with its open requests.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::memory::Memory;
use crate::outbound::{Backoff, Outbound};
use crate::session::Session;
use crate::time::{Clock, UnixTime};
use crate::verifier::Verifier;

#[derive(Default)]
pub(super) struct Counters {
    pub(super) asked: AtomicU64,
    pub(super) renewed: AtomicU64,
    pub(super) not_due: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) failed: AtomicU64,
}

pub(super) struct RenewalState {
    pub(super) issuer: Outbound,
    pub(super) verifier: Verifier,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) renew_after: Option<Duration>,
    pub(super) patience: Duration,
    pub(super) timeout: Duration,
    pub(super) remember: Duration,
    pub(super) memory: Memory,
    pub(super) room: Arc<Semaphore>,
    /// When an issuer that failed may be asked again.
    pub(super) pause: Mutex<Pause>,
    pub(super) counters: Counters,
}

pub(super) struct Pause {
    pub(super) backoff: Backoff,
    pub(super) until: Option<Instant>,
}

impl RenewalState {
    /// When to ask the issuer about this token; `None` if it can't be renewed,
    /// since it ends with its session.
    pub(super) fn due_at<C>(&self, session: &Session<C>) -> Option<UnixTime> {
        let (issued, expires) = (session.issued_at(), session.expires_at());
        let max_age = expires.since(issued);
        // The feed has the largest of all log-ins, which may be too large for
        // this one.
        let feed = self.verifier.feed_lifetimes().map(|lifetimes| lifetimes.renew_after);
        let after = self.renew_after.or(feed.filter(|after| *after < max_age)).unwrap_or(max_age / 2);
        (expires < session.ends_at()).then(|| issued.saturating_add(after))
    }

    pub(super) fn is_paused(&self) -> bool {
        let pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        pause.until.is_some_and(|until| Instant::now() < until)
    }

    /// After a failure, the issuer is not asked for a while. Other failures at
    /// the same time don't extend it.
    pub(super) fn failed(&self) {
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if pause.until.is_none_or(|until| until <= now) {
            pause.until = Some(now + pause.backoff.next());
        }
    }

    pub(super) fn answered(&self) {
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        if pause.until.take().is_some() {
            pause.backoff.reset();
        }
    }
}
