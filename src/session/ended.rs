//! [`Session::ended`]: live connections end with their session.

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

/// Longest time between two checks of what changes without notice: the age of the
/// revocation list, a retired key, a changed clock.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The clock has whole seconds, so this waits for the last second in steps.
const LAST_SECOND: Duration = Duration::from_millis(100);

/// Why a session ended for an open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ended {
    /// Its token has expired. The client may have a renewed token, and can connect
    /// again with it.
    Expired,
    /// The session, its subject, its key or everything was revoked, or the key that
    /// signed its token is no longer trusted.
    Revoked,
    /// The revocation list is stale, so it is unknown whether the session is revoked.
    Stale,
}

impl Ended {
    /// The name, like `revoked`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Stale => "stale",
        }
    }
}

/// What to wait for: the end of one token, or of its session, which outlives it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Token,
    #[cfg(feature = "server")]
    Session,
}

/// What a session needs to detect its end: everything that admitted it.
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

    async fn ended(&self, token: &VerifiedToken, whose: Whose) -> Ended {
        let mut revoked = self.revoked.subscribe();
        loop {
            // Before the check, so that no change is missed.
            revoked.borrow_and_update();
            let now = self.clock.now();
            if let Some(why) = self.verdict(token, whose, now) {
                return why;
            }
            let end = match whose {
                Whose::Token => token.claims().expires,
                #[cfg(feature = "server")]
                Whose::Session => token.claims().session.ends,
            };
            let end = end.saturating_add(self.policy.leeway);
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

    /// Returns how it has ended by now.
    fn verdict(&self, token: &VerifiedToken, whose: Whose, now: UnixTime) -> Option<Ended> {
        let key_id = token.key_id();
        let admitted = match whose {
            Whose::Token => self.policy.admit(key_id, token.claims(), now),
            #[cfg(feature = "server")]
            Whose::Session => self.policy.admit_expired(key_id, token.claims(), now),
        };
        match admitted {
            Err(Rejection::Expired { .. } | Rejection::SessionEnded { .. }) => Some(Ended::Expired),
            Err(Rejection::RevocationsStale { .. }) => Some(Ended::Stale),
            Err(Rejection::Revoked { .. }) => Some(Ended::Revoked),
            // Only a clock that was set back can cause the other rejections later, and that
            // does not end an open connection.
            // A retired key does not end the session, whose newer tokens another key signed.
            Ok(()) | Err(_) => {
                let retired = whose == Whose::Token && self.keys.load().get(key_id, now).is_none();
                retired.then_some(Ended::Revoked)
            }
        }
    }
}

impl fmt::Debug for Lifeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lifeline")
    }
}

impl<C> Session<C> {
    /// Resolves when this session's token would be refused: within a moment after a
    /// revocation arrives, or at its expiry. So a WebSocket or an event stream can
    /// end with its session:
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
    /// It keeps only the necessary parts of the session, and can be spawned. A session
    /// that an issuer just made, not admitted by a [`Verifier`](crate::Verifier), ends
    /// only at its expiry. Must be polled in a tokio runtime.
    pub fn ended(&self) -> impl Future<Output = Ended> + Send + 'static + use<C> {
        let (token, lifeline) = (self.token.clone(), self.lifeline.clone());
        async move {
            if let Some(lifeline) = lifeline {
                return lifeline.ended(token.get(), Whose::Token).await;
            }
            let expires = token.get().claims().expires;
            while SystemClock.now() < expires {
                sleep(until(expires, SystemClock.now())).await;
            }
            Ended::Expired
        }
    }
}

#[cfg(feature = "server")]
impl Session {
    /// Resolves when the session is revoked or past its end, however often its
    /// token is renewed meanwhile. For a session with a lifeline.
    pub(crate) fn over(&self) -> impl Future<Output = Ended> + Send + 'static + use<> {
        let (token, lifeline) = (self.token.clone(), self.lifeline.clone());
        async move {
            match lifeline {
                Some(lifeline) => lifeline.ended(token.get(), Whose::Session).await,
                None => Ended::Expired,
            }
        }
    }
}

/// Returns how long to sleep before the next check of the clock.
fn until(end: UnixTime, now: UnixTime) -> Duration {
    end.since(now).saturating_sub(Duration::from_secs(1)).clamp(LAST_SECOND, LOOK_EVERY)
}
