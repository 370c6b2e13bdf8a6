//! The feed's client: a task that keeps an edge's list and keys current.
//!
//! It starts from the feed on disk, or fetches a snapshot, and then follows the
//! feed: by server-sent events if they get through, else by long polls. A bad
//! feed, connection or issuer never changes what the edge knows. The list only
//! grows older, and the verifier's [`StalePolicy`](crate::StalePolicy) decides
//! when it is too old.
//!
//! # Requests to the issuer
//!
//! `GET {issuer}/revocations` answers a snapshot, all parts of it as a CBOR
//! Sequence, [`MEDIA_TYPE`](crate::revocation::feed::MEDIA_TYPE).
//! With `?after=SEQUENCE&epoch=EPOCH` it answers
//!
//! - to `Accept: text/event-stream`: events, one for each part, with the part
//!   in base64url as the data and no name or the name `feed`. The first feed
//!   comes at once: the delta from there, or a snapshot if there is no such
//!   delta (another epoch, say). The next ones come when something is revoked,
//!   and at each re-signing;
//! - else: one feed, as soon as there is something after that position, and
//!   after about 8 s the last re-signing in any case. `wait=0` asks for an
//!   answer at once.
//!
//! `GET {issuer}/.well-known/hallpass/feed-keys` answers the feed keys as a COSE
//! Key Set, for edges that trust on first use.
//!
//! An edge that [has a name](FeedClientBuilder::report_as) reports its position
//! every 10 s: `POST {issuer}/edges/report` with `Authorization: Bearer` and
//! `{"edge":NAME,"epoch":N,"sequence":N,"as_of":UNIX-SECONDS}`, the last three
//! null before the first feed; answered with 204.
//! [Anomalies](FeedHandle::report) go with it, at most 20 at a time:
//! `"anomalies":[{"kind","at","count","within","network","subject",
//! "session_id"}]`, times in seconds. It is a separate request, since an event
//! stream can't carry data to the issuer.

mod cache;
mod error;
mod events;
mod http;
mod report;
mod reporter;
mod run;
mod spawn_blocking;
#[cfg(test)]
mod tests;

use core::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::anomaly::Anomaly;
use crate::error::ConfigError;
use crate::key::{KeyUse, LiveKeys};
use crate::outbound::{self, Backoff};
use crate::revocation::{FeedKeys, Position, RevocationList};
use crate::time::{Clock, UnixTime};

use self::cache::Cache;
pub use self::error::SyncError;
#[cfg(any(test, fuzzing))]
pub(crate) use self::events::events;
use self::http::Http;
#[cfg(feature = "server")]
pub(crate) use self::report::EdgeReport;
pub use self::report::{EdgeName, REPORT_EVERY};
use self::report::{Reporter, Waiting};

/// How often an unknown kid may ask for a refresh.
const REFRESH_EVERY: Duration = Duration::from_mins(1);

/// How feeds are received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// Server-sent events; long polls for a while if no events get through.
    Events,
    /// Long polls.
    LongPoll,
    /// A snapshot at intervals, by ETag, through a cache or a CDN. A log-out takes up
    /// to one interval to arrive.
    Poll {
        /// How often to ask.
        every: Duration,
    },
}

/// The status of a [`FeedClient`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedStatus {
    /// The list's position in the feed.
    pub position: Option<Position>,
    /// When the last applied feed was signed.
    pub as_of: Option<UnixTime>,
    /// When a feed from the issuer was last applied, by this machine's clock.
    pub last_success: Option<UnixTime>,
    /// The last error, and when it happened.
    pub last_error: Option<(UnixTime, SyncError)>,
    /// The number of failed attempts since the last success.
    pub failures: u64,
}

impl FeedStatus {
    /// Returns the list's age; `None` if no feed was applied.
    #[must_use]
    pub fn age(&self, now: UnixTime) -> Option<Duration> {
        self.as_of.map(|as_of| now.since(as_of))
    }
}

/// Keeps one [`RevocationList`] and one [`LiveKeys`] current. Get what you need from
/// it, then spawn [`run`](Self::run).
///
/// ```no_run
/// # use hallpass::{Verifier, revocation::{FeedKeys, sync::FeedClient}};
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let trusted = FeedKeys::from_bytes(&std::fs::read("feed-keys.cbor")?)?;
/// let client = FeedClient::builder("https://login.example")
///     .trust(trusted)
///     .cache_dir("/var/cache/edge")
///     .build()?;
/// let verifier = Verifier::builder(client.keys().clone())
///     .audience("shop")
///     .revocations(client.list().clone())
///     .build()?;
/// tokio::spawn(client.run());
/// # Ok(()) }
/// ```
pub struct FeedClient {
    http: Http,
    trust: Trust,
    cache: Option<Cache>,
    delivery: Delivery,
    backoff: Backoff,
    clock: Arc<dyn Clock>,
    reporter: Option<Reporter>,
    handle: FeedHandle,
}

/// Which feeds are trusted.
enum Trust {
    Pinned(Arc<FeedKeys>),
    /// The keys that the issuer gives on first use.
    OnFirstUse,
}

impl FeedClient {
    /// Builds a client of the issuer at this URL, including its base path.
    pub fn builder(issuer: impl Into<String>) -> FeedClientBuilder {
        FeedClientBuilder {
            options: outbound::Options::new(
                issuer.into(),
                Duration::from_secs(45),
                (Duration::from_millis(100), Duration::from_secs(10)),
            ),
            trust: None,
            list: RevocationList::new(),
            keys: LiveKeys::awaiting(),
            cache_dir: None,
            delivery: Delivery::Events,
            max_feed_bytes: 256 * 1024 * 1024,
            reporter: None,
        }
    }

    /// Returns the list that it keeps current.
    #[must_use]
    pub fn list(&self) -> &RevocationList {
        &self.handle.0.list
    }

    /// Returns the session keys that it keeps current, empty until the first feed.
    #[must_use]
    pub fn keys(&self) -> &LiveKeys {
        &self.handle.0.keys
    }

    /// Returns a handle to the running client.
    #[must_use]
    pub fn handle(&self) -> FeedHandle {
        self.handle.clone()
    }
}

impl fmt::Debug for FeedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedClient").field("status", &self.handle.status()).finish_non_exhaustive()
    }
}

/// Builds a [`FeedClient`].
#[must_use]
pub struct FeedClientBuilder {
    options: outbound::Options,
    trust: Option<Trust>,
    list: RevocationList,
    keys: LiveKeys,
    cache_dir: Option<PathBuf>,
    delivery: Delivery,
    max_feed_bytes: usize,
    reporter: Option<Reporter>,
}

impl FeedClientBuilder {
    /// Pins the feed keys: only their feeds are applied.
    pub fn trust(mut self, keys: FeedKeys) -> Self {
        self.trust = Some(Trust::Pinned(Arc::new(keys)));
        self
    }

    /// Trusts the feed keys that the issuer gives on first use, over TLS, and pins
    /// them: in the [cache directory](Self::cache_dir), or else for the life of the
    /// process. An impostor at that moment is trusted; [`trust`](Self::trust) avoids
    /// this.
    pub fn trust_on_first_use(mut self) -> Self {
        self.trust = Some(Trust::OnFirstUse);
        self
    }

    /// Keeps this list and these keys current instead of new ones.
    pub fn into_existing(mut self, list: RevocationList, keys: LiveKeys) -> Self {
        (self.list, self.keys) = (list, keys);
        self
    }

    /// Stores the last feed in this directory, and starts from it. Creates the
    /// directory if necessary. An attacker who can write there can hide revocations
    /// from the edge for its staleness bound.
    pub fn cache_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(path.into());
        self
    }

    /// Sets how feeds are received. Default: [`Delivery::Events`].
    pub const fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Sets the longest time for a whole feed, including the wait. Must be more than
    /// the 8 s for which the issuer holds a long poll; default 45 s.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Sets the largest accepted feed, in bytes. Default 256 MiB, about ten million
    /// revoked sessions; one answer can take this much memory.
    pub const fn max_feed_bytes(mut self, bytes: usize) -> Self {
        self.max_feed_bytes = bytes;
        self
    }

    /// Sets the first and the longest wait between attempts, before jitter. Default
    /// 100 ms and 10 s.
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

    /// Reports this edge's feed position to the issuer every 10 s, so that operators
    /// see an edge that falls behind. `credential` is the issuer's
    /// `HALLPASS_EDGE_TOKEN`; it is sent only over TLS or to loopback.
    pub fn report_as(mut self, name: EdgeName, credential: impl Into<String>) -> Self {
        self.reporter = Some(Reporter { name, credential: Zeroizing::new(credential.into()) });
        self
    }

    /// Sets another clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.options.clock = Arc::new(clock);
        self
    }

    /// # Errors
    /// [`ConfigError::Builder`] if no trust was set, if the URL is invalid, or if keys
    /// would be trusted on first use or a credential sent without TLS.
    /// [`ConfigError::KeyUse`] if a pinned feed key is also a session key.
    /// [`ConfigError::File`] if the cache directory can't be created.
    pub fn build(self) -> Result<FeedClient, ConfigError> {
        let trust = self.trust.ok_or(ConfigError::Builder(
            "say whose feed this edge trusts: .trust(keys) or .trust_on_first_use()",
        ))?;
        if let Trust::Pinned(pinned) = &trust
            && let Some(shared) = self.keys.current().iter().find(|key| pinned.contains(key))
        {
            return Err(ConfigError::KeyUse {
                key: shared.id(),
                found: KeyUse::Session,
                wanted: KeyUse::Feed,
            });
        }
        let http = Http::new(&self.options, self.max_feed_bytes)?;
        if matches!(trust, Trust::OnFirstUse) && !http.is_private() {
            return Err(ConfigError::Builder(
                "feed keys are trusted on first use over https alone; pin them with .trust(keys)",
            ));
        }
        if self.reporter.is_some() && !http.is_private() {
            return Err(ConfigError::Builder(
                "the edge credential is sent over https alone; leave out .report_as()",
            ));
        }
        let cache = self.cache_dir.map(|path| Cache::open(path, self.max_feed_bytes)).transpose()?;
        let (status, _) = watch::channel(FeedStatus::default());
        let refresh = Arc::new(Refresh::default());
        let asked = Arc::clone(&refresh);
        self.keys.on_unknown(move || {
            asked.ask();
        });
        Ok(FeedClient {
            http,
            trust,
            cache,
            delivery: self.delivery,
            backoff: self.options.backoff(),
            clock: self.options.clock,
            handle: FeedHandle(Arc::new(FeedTask {
                reports: self.reporter.is_some(),
                list: self.list,
                keys: self.keys,
                status,
                refresh,
                anomalies: Waiting::default(),
            })),
            reporter: self.reporter,
        })
    }
}

impl fmt::Debug for FeedClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedClientBuilder").field("issuer", &self.options.issuer).finish_non_exhaustive()
    }
}

/// A handle to a running [`FeedClient`]. Clones share it.
#[derive(Clone)]
pub struct FeedHandle(Arc<FeedTask>);

struct FeedTask {
    /// Whether reports are sent.
    reports: bool,
    list: RevocationList,
    keys: LiveKeys,
    status: watch::Sender<FeedStatus>,
    refresh: Arc<Refresh>,
    /// For the next report, if this edge reports.
    anomalies: Waiting,
}

impl FeedHandle {
    /// Reports an anomaly to the issuer within about a second, if this edge
    /// [has a name](FeedClientBuilder::report_as). At most the latest 100 wait. The
    /// caller logs it locally.
    pub fn report(&self, anomaly: Anomaly) {
        if self.0.reports {
            self.0.anomalies.push(anomaly);
        }
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> FeedStatus {
        self.0.status.borrow().clone()
    }

    /// Waits until the status meets `is_met`; forever if the client is stopped.
    pub async fn wait_until(&self, is_met: impl FnMut(&FeedStatus) -> bool) -> FeedStatus {
        // The sender is in this handle, so the channel can't be closed.
        match self.0.status.subscribe().wait_for(is_met).await {
            Ok(status) => status.clone(),
            Err(_) => self.status(),
        }
    }

    /// Requests the latest feed, for a token of an unknown, perhaps new, key. At most
    /// once a minute; returns whether it was done. A [`Verifier`](crate::Verifier)
    /// with this client's keys calls it by itself.
    #[expect(clippy::must_use_candidate, reason = "asking is the point")]
    pub fn refresh(&self) -> bool {
        self.0.refresh.ask()
    }
}

impl fmt::Debug for FeedHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FeedHandle").field(&self.status()).finish()
    }
}

/// Allows one refresh a minute.
#[derive(Default)]
struct Refresh {
    asked: Mutex<Option<Instant>>,
    wanted: Notify,
}

impl Refresh {
    fn ask(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if asked.is_some_and(|last| now.duration_since(last) < REFRESH_EVERY) {
            return false;
        }
        *asked = Some(now);
        self.wanted.notify_one();
        true
    }
}
