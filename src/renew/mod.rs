//! Renewal at an edge: an edge has no signing key, so it asks the issuer when a
//! token is due.
//!
//! The issuer is asked once per token, however many requests wait. A request
//! waits a moment ([`patience`](RenewClientBuilder::patience)) and is then
//! served with the token that it has; a later request gets the answer. When a
//! renewed token is first seen in use, it is posted to the issuer once more, in
//! the background: from then on its predecessor is evidence of theft.
//!
//! For cookies only: a client renews its bearer token itself.

mod ask;
mod memory;
mod state;
mod successor;

use core::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use self::ask::Asking;
use self::memory::{Known, Memory};
use self::state::{Counters, Pause, RenewalState};
#[cfg(feature = "server")]
pub(crate) use self::successor::renewable_until;
pub use self::successor::{Begun, Renewed, Successor, Waiting};
use crate::error::{ConfigError, Rejection};
use crate::outbound::{self};
use crate::revocation::FeedLifetimes;
use crate::session::Session;
use crate::time::{Clock, UnixTime};
use crate::verifier::Verifier;

/// Most requests to the issuer at a time. Further requests are served with the
/// token that they have, and try again later.
const MOST_AT_ONCE: usize = 64;

/// The counts of renewals since the client was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenewCounts {
    /// Requests to the issuer.
    pub asked: u64,
    /// Answered with a new token.
    pub renewed: u64,
    /// Answered with the same token: not due yet, or a renewed one's
    /// confirmation.
    pub not_due: u64,
    /// Refused.
    pub refused: u64,
    /// No answer, or no usable token in it.
    pub failed: u64,
}

/// Renews the tokens of cookies at one issuer. Clones share the state.
///
/// It sends requests only for due tokens that clients present.
///
#[cfg_attr(feature = "issuer", doc = "```")]
#[cfg_attr(not(feature = "issuer"), doc = "```ignore")]
/// # use hallpass::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa)?;
/// # let keys = KeySet::new([key.verifying_key().clone()])?;
/// use std::time::Duration;
///
/// let verifier = Verifier::builder(keys).without_revocations().build()?;
/// let renewal = RenewClient::builder("https://login.example", verifier)
///     .timeout(Duration::from_secs(2))
///     .build()?;
/// assert_eq!(renewal.counts().asked, 0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RenewClient(Arc<RenewalState>);

impl RenewClient {
    /// A client of the issuer at this URL, including its base path. `verifier`
    /// must be the one that will admit the new tokens from the browser.
    pub fn builder(issuer: impl Into<String>, verifier: Verifier) -> RenewClientBuilder {
        RenewClientBuilder {
            options: outbound::Options::new(
                issuer.into(),
                Duration::from_secs(5),
                (Duration::from_millis(500), Duration::from_secs(30)),
            ),
            verifier,
            renew_after: None,
            patience: Duration::from_millis(500),
            remember: Duration::from_secs(30),
            capacity: 100_000,
            plain_http: false,
        }
    }

    /// Returns the successor of `token`, the token of the admitted `session`,
    /// after at most the client's patience. Call it for each request with a
    /// cookie, since it also reports a renewed token's first use. `client` is
    /// for the issuer's record of the session; the issuer trusts it if this
    /// edge is among its `trusted_proxies`.
    ///
    /// Must be called in a tokio runtime. Dropping the future stops nothing.
    pub async fn successor<C>(&self, token: &str, session: &Session<C>, client: Option<IpAddr>) -> Successor {
        match self.begin(token, session, client) {
            Begun::Known(successor) => successor,
            Begun::Waiting(waiting) => waiting.wait().await,
        }
    }

    /// [`RenewClient::successor`] in two steps, so that the request can be
    /// served meanwhile.
    pub fn begin<C>(&self, token: &str, session: &Session<C>, client: Option<IpAddr>) -> Begun {
        self.begin_for(token, session, || client)
    }

    /// Returns the successor of `token`, which has expired but may still be
    /// renewed; waits for the client's patience at most. It is verified first:
    /// everything but its expiry. Serve the request only with
    /// [`Successor::Renewed`]. With [`Successor::Refused`] the session is over;
    /// otherwise it may go on, so answer 503 and not with a log-in page.
    ///
    /// Must be called in a tokio runtime.
    ///
    /// # Errors
    /// The token's [`Rejection`].
    pub async fn renew_expired(&self, token: &str, client: Option<IpAddr>) -> Result<Successor, Rejection> {
        match self.begin_expired(token, client)? {
            Begun::Known(successor) => Ok(successor),
            Begun::Waiting(waiting) => Ok(waiting.wait().await),
        }
    }

    pub(crate) fn begin_expired(&self, token: &str, client: Option<IpAddr>) -> Result<Begun, Rejection> {
        let now = self.0.clock.now();
        let session = Session::<()>::admitted(self.0.verifier.verify_expired(token, now)?);
        if session.expires_at() >= session.ends_at() {
            return Ok(Begun::Known(Successor::Refused));
        }
        // Nothing is renewed that has rested longer than any session may.
        let rested = now.since(session.issued_at());
        let over = |most: FeedLifetimes| rested > most.idle_timeout.saturating_add(most.leeway);
        if self.0.verifier.feed_lifetimes().is_some_and(over) {
            return Ok(Begun::Known(Successor::Refused));
        }
        let due_at = self.0.due_at(&session);
        let begun = self.ask(token, &session, due_at, true, now, || client);
        // The issuer's clock is behind. A log-in would not help.
        Ok(match begun {
            Begun::Known(Successor::NotDue) => Begun::Known(Successor::Unavailable),
            begun => begun,
        })
    }

    /// `client` is called only if the issuer is asked.
    pub(crate) fn begin_for<C>(
        &self,
        token: &str,
        session: &Session<C>,
        client: impl FnOnce() -> Option<IpAddr>,
    ) -> Begun {
        let shared = &self.0;
        let now = shared.clock.now();
        let due_at = shared.due_at(session);
        let due = due_at.is_some_and(|at| at <= now);
        // Renewing a bound session needs a proof, which only its client can
        // make.
        if session.bound_to().is_some() || (!due && session.generation() == 0) {
            return Begun::Known(Successor::NotDue);
        }
        self.ask(token, session, due_at, due, now, client)
    }

    fn ask<C>(
        &self,
        token: &str,
        session: &Session<C>,
        due_at: Option<UnixTime>,
        due: bool,
        now: UnixTime,
        client: impl FnOnce() -> Option<IpAddr>,
    ) -> Begun {
        let shared = &self.0;
        let mut memory = shared.memory.of(session.token_id());
        if let Some(begun) = memory.get(token, due, now) {
            return begun;
        }
        // No request waits for a confirmation.
        let unless_due = |begun| if due { begun } else { Begun::Known(Successor::NotDue) };
        let room = if shared.is_paused() { None } else { Arc::clone(&shared.room).try_acquire_owned().ok() };
        let Some(room) = room else { return unless_due(Begun::Known(Successor::Unavailable)) };
        let (sender, answer) = watch::channel(None);
        let waiting = Waiting { answer, until: Instant::now() + shared.patience };
        let text = Arc::<str>::from(token);
        memory.put(Known::Asked { text: Arc::clone(&text), waiting: waiting.clone() });
        drop(memory);
        shared.counters.asked.fetch_add(1, Ordering::Relaxed);
        let session = session.clone().with_claims();
        let asking = Asking { shared: Arc::clone(shared), text, session, due_at, client: client(), sender };
        // A task of its own, since the browser may hang up.
        tokio::spawn(async move {
            asking.run().await;
            drop(room);
        });
        unless_due(Begun::Waiting(waiting))
    }

    /// Returns the counts.
    #[must_use]
    pub fn counts(&self) -> RenewCounts {
        let Counters { asked, renewed, not_due, refused, failed } = &self.0.counters;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RenewCounts {
            asked: load(asked),
            renewed: load(renewed),
            not_due: load(not_due),
            refused: load(refused),
            failed: load(failed),
        }
    }
}

impl fmt::Debug for RenewClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RenewClient").field(&self.counts()).finish()
    }
}

/// Builds a [`RenewClient`].
#[must_use]
pub struct RenewClientBuilder {
    options: outbound::Options,
    verifier: Verifier,
    renew_after: Option<Duration>,
    patience: Duration,
    remember: Duration,
    capacity: usize,
    plain_http: bool,
}

impl RenewClientBuilder {
    /// The age, in whole seconds, at which the issuer is asked about a token. By
    /// default as the feed states, else half of its max age. The issuer's own `renew_after` decides:
    /// if this is too early, the client asks again at half of the token's
    /// remaining time.
    pub const fn renew_after(mut self, age: Duration) -> Self {
        self.renew_after = Some(age);
        self
    }

    /// How long requests wait for the issuer's answer, from the start of the
    /// request to it, before they are served with the token that they have.
    /// Default 500 ms; zero never waits.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long the issuer may take to answer before it counts as failed.
    /// Default 5 s.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// How long the old token gets its successor without a request to the
    /// issuer, in whole seconds: for parallel requests and lost answers. At
    /// most the issuer's `renewal_grace`, since a stolen old token goes
    /// unnoticed for this time. Default 30 s.
    pub const fn remember(mut self, duration: Duration) -> Self {
        self.remember = duration;
        self
    }

    /// How many tokens the client remembers; it evicts the least recently used.
    /// At least 1,000. Default 100,000, about 15 MB when full.
    pub const fn capacity(mut self, tokens: usize) -> Self {
        self.capacity = tokens;
        self
    }

    /// The first and the longest wait after the issuer failed, before jitter.
    /// Default 500 ms and 30 s.
    pub const fn back_off(mut self, first: Duration, longest: Duration) -> Self {
        self.options.back_off = (first, longest);
        self
    }

    /// Also trusts this certificate authority (PEM) for TLS.
    ///
    /// # Errors
    /// [`ConfigError::Key`] if it is not a certificate.
    pub fn root_certificate(mut self, pem: &[u8]) -> Result<Self, ConfigError> {
        self.options.trust_root(pem)?;
        Ok(self)
    }

    /// Sends tokens over plain HTTP to an issuer on another machine. Whoever
    /// can read the traffic can use them. Only for a network that is encrypted
    /// by other means.
    pub const fn over_plain_http(mut self) -> Self {
        self.plain_http = true;
        self
    }

    /// Sets the clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.options.clock = Arc::new(clock);
        self
    }

    /// # Errors
    /// [`ConfigError::Builder`] if the URL is invalid or is plain HTTP to
    /// another machine, or the capacity is under 1,000.
    pub fn build(self) -> Result<RenewClient, ConfigError> {
        let issuer = self.options.outbound()?;
        if !issuer.is_private() && !self.plain_http {
            return Err(ConfigError::Builder(
                "tokens are sent to the issuer over https alone; where the network is encrypted by \
                 other means, say .over_plain_http()",
            ));
        }
        if self.capacity < memory::LEAST {
            return Err(ConfigError::Builder("a renewal client remembers at least 1000 tokens"));
        }
        Ok(RenewClient(Arc::new(RenewalState {
            issuer,
            verifier: self.verifier,
            clock: Arc::clone(&self.options.clock),
            renew_after: self.renew_after,
            patience: self.patience,
            timeout: self.options.timeout,
            remember: self.remember,
            memory: Memory::new(self.capacity),
            room: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            pause: Mutex::new(Pause { backoff: self.options.backoff(), until: None }),
            counters: Counters::default(),
        })))
    }
}

impl fmt::Debug for RenewClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewClientBuilder").field("issuer", &self.options.issuer).finish_non_exhaustive()
    }
}
