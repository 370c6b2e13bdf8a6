//! Live connections end with their session: [`Session::ended`].

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::Session;
use crate::error::Rejection;
use crate::key::LiveKeys;
use crate::policy::{Policy, Revocations};
use crate::revocation::Subscription;
use crate::time::{Clock, SystemClock, UnixTime};
use crate::verify::VerifiedToken;

/// Longest time between two looks at what nobody announces: the age of the
/// revocation list, a key that was retired, a clock that was set.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The clock tells whole seconds, so the last one is waited for in steps.
const LAST_SECOND: Duration = Duration::from_millis(100);

/// Why a session is over for a connection that it was admitted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ended {
    /// Its token has expired. The client may have a renewed one by now: it can
    /// connect again with that.
    Expired,
    /// It was revoked: the session, its subject, its key or everything. Or the
    /// key that signed its token is not trusted any longer.
    Revoked,
    /// The revocation list is older than its staleness bound, so that nobody
    /// here can tell.
    Stale,
}

/// What a session needs to know to tell when it is over: all that admitted it.
pub(crate) struct Lifeline {
    policy: Arc<Policy>,
    keys: LiveKeys,
    clock: Arc<dyn Clock>,
    revoked: watch::Sender<()>,
    _subscription: Option<Subscription>,
}

impl Lifeline {
    pub(crate) fn new(policy: Arc<Policy>, keys: LiveKeys, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (revoked, _) = watch::channel(());
        let subscription = match &policy.revocations {
            Revocations::Unknown => None,
            Revocations::Known { list, .. } => {
                let revoked = revoked.clone();
                Some(list.on_change(move || revoked.send_replace(())))
            }
        };
        Arc::new(Self { policy, keys, clock, revoked, _subscription: subscription })
    }

    async fn ended(&self, token: &VerifiedToken) -> Ended {
        let mut revoked = self.revoked.subscribe();
        loop {
            // Before the look, so that nothing is missed in between.
            revoked.borrow_and_update();
            let now = self.clock.now();
            if let Some(why) = self.verdict(token, now) {
                return why;
            }
            let end = token.claims().expires.saturating_add(self.policy.leeway);
            tokio::select! {
                _ = revoked.changed() => {}
                () = sleep(until(end, now)) => {}
            }
        }
    }

    #[cfg(feature = "axum")]
    pub(super) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// What a request with this token would be told now.
    fn verdict(&self, token: &VerifiedToken, now: UnixTime) -> Option<Ended> {
        let key_id = token.key_id();
        match self.policy.admit(key_id, token.claims(), now) {
            Err(Rejection::Expired { .. } | Rejection::SessionEnded { .. }) => Some(Ended::Expired),
            Err(Rejection::RevocationsStale { .. }) => Some(Ended::Stale),
            Err(Rejection::Revoked { .. }) => Some(Ended::Revoked),
            // Of the rest only a clock that was set back can come up later, and
            // what has begun is not undone by that.
            Ok(()) | Err(_) => self.keys.load().get(key_id, now).is_none().then_some(Ended::Revoked),
        }
    }
}

impl fmt::Debug for Lifeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lifeline")
    }
}

impl<C> Session<C> {
    /// Resolves when the token that this session was admitted with would be
    /// refused: within a moment of a revocation that gets here, or at its
    /// expiry. So a WebSocket or an event stream can end with its session:
    ///
    /// ```
    /// # use hallpass::Session;
    /// # async fn next_message() {}
    /// # async fn example(session: Session) {
    /// let mut ended = std::pin::pin!(session.ended());
    /// loop {
    ///     tokio::select! {
    ///         why = &mut ended => break, // say goodbye
    ///         message = next_message() => { /* serve it */ }
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// It holds no more of the session than it needs, and can be spawned. A
    /// session that was not admitted by a [`Verifier`](crate::Verifier) (an
    /// issuer has just made it) ends at its expiry alone. Must be polled in a
    /// tokio runtime.
    pub fn ended(&self) -> impl Future<Output = Ended> + Send + 'static + use<C> {
        let (token, lifeline) = (self.token.clone(), self.lifeline.clone());
        async move {
            if let Some(lifeline) = lifeline {
                return lifeline.ended(token.get()).await;
            }
            let expires = token.get().claims().expires;
            while SystemClock.now() < expires {
                sleep(until(expires, SystemClock.now())).await;
            }
            Ended::Expired
        }
    }
}

/// How long to sleep before looking at the clock again.
fn until(end: UnixTime, now: UnixTime) -> Duration {
    end.since(now).saturating_sub(Duration::from_secs(1)).clamp(LAST_SECOND, LOOK_EVERY)
}
