//! The tower layer: it verifies and admits each request's token before the inner
//! service.

mod demand;
mod future;
mod refusal;
mod service;

use std::sync::Arc;

use tower::Layer;

use crate::error::ConfigError;
use crate::event::EventSink;
use crate::http::client_address::TrustedProxies;
use crate::http::cookie::SessionCookie;
use crate::http::csrf::Origins;
use crate::http::origin::OriginError;
#[cfg(feature = "proof")]
use crate::http::proof::RequestProofs;
#[cfg(feature = "sync")]
use crate::renew::RenewClient;
use crate::time::{Clock, SystemClock};
use crate::verifier::Verifier;

pub use self::demand::{Demand, DemandService};
pub use self::future::ResponseFuture;
use self::refusal::Answers;
pub use self::refusal::Refusal;
pub use self::service::SessionMiddleware;

/// What to do with a request without an admitted session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    /// Refuse it with 401.
    Refused,
    /// Pass it on.
    Served,
}

/// Puts the admitted [`Session`](crate::Session) into the request's extensions,
/// where the extractor finds it, and refuses requests without one.
///
/// The response's extensions hold the reason of a refusal, a [`Refusal`], for logs and
/// metrics. The client gets the same 401 for every reason.
#[cfg_attr(feature = "sync", doc = "```")]
#[cfg_attr(not(feature = "sync"), doc = "```ignore")]
/// # use std::time::Duration;
/// # use axum::{Router, routing::{get, post}};
/// # use hallpass::{RenewClient, Session, SessionLayer, Verifier, http::Demand};
/// # #[derive(serde::Deserialize)]
/// # struct Roles { admin: bool }
/// # fn app(verifier: Verifier) -> Result<Router, hallpass::ConfigError> {
/// let renewal = RenewClient::builder("https://login.example/.hallpass", verifier.clone()).build()?;
/// let recent = Demand::new().authenticated_within(Duration::from_mins(5));
/// let admin = Demand::new().claims(|roles: &Roles| roles.admin);
/// Ok(Router::new()
///     .route("/", get(async |session: Session| format!("hello {}", session.subject())))
///     .route("/password", post(async || "changed").layer(recent))
///     .route("/admin", get(async || "all of it").layer(admin))
///     .layer(SessionLayer::new(verifier).renewing(renewal).log_in_at("/.hallpass/")?))
/// # }
/// ```
#[derive(Debug)]
pub struct SessionLayer<K = SystemClock>(Arc<Settings<K>>);

/// Shared, because services are cloned for every request.
#[derive(Clone, Debug)]
struct Settings<K> {
    verifier: Verifier,
    without: Without,
    demand: Demand,
    origins: Origins,
    /// Shared again: they go along with requests.
    answers: Arc<Answers>,
    cookie: SessionCookie,
    #[cfg(feature = "sync")]
    renewal: Option<RenewClient>,
    #[cfg(feature = "proof")]
    proofs: Option<RequestProofs>,
    clock: K,
}

impl SessionLayer {
    /// Makes a layer that passes only requests with a session.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self(Arc::new(Settings {
            verifier,
            without: Without::Refused,
            demand: Demand::new(),
            origins: Origins::default(),
            answers: Arc::default(),
            cookie: SessionCookie::host_only(),
            #[cfg(feature = "sync")]
            renewal: None,
            #[cfg(feature = "proof")]
            proofs: None,
            clock: SystemClock,
        }))
    }
}

impl<K: Clone> SessionLayer<K> {
    fn with(mut self, change: impl FnOnce(&mut Settings<K>)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Also passes requests without a session; handlers take an `Option<Session>`.
    #[must_use]
    pub fn optional(self) -> Self {
        self.with(|settings| settings.without = Without::Served)
    }

    /// Also accepts sessions that are bound to a key, with a proof by that key for
    /// each request (RFC 9449). Without this they are refused.
    #[cfg(feature = "proof")]
    #[must_use]
    pub fn proofs(self, proofs: RequestProofs) -> Self {
        self.with(|settings| settings.proofs = Some(proofs))
    }

    /// Reads and renews this cookie instead of `__Host-session`.
    #[must_use]
    pub fn cookie(self, cookie: SessionCookie) -> Self {
        self.with(|settings| settings.cookie = cookie)
    }

    /// Applies this [`Demand`] to every session. For some routes only, add the
    /// [`Demand`] to those.
    #[must_use]
    pub fn demand(self, demand: Demand) -> Self {
        self.with(|settings| settings.demand = demand)
    }

    /// Renews the tokens of cookies. The request is served while the issuer renews,
    /// and the response sets the new cookie. Such a response is never cacheable.
    #[cfg(feature = "sync")]
    #[must_use]
    pub fn renewing(self, renewal: RenewClient) -> Self {
        self.with(|settings| settings.renewal = Some(renewal))
    }

    /// Lets pages of another origin, like `https://app.example` or
    /// `https://app.example:8443`, make requests that change something. Such a
    /// page also needs CORS headers, and its requests must carry the cookie:
    /// those of sibling hosts do.
    ///
    /// # Errors
    /// [`OriginError`] if it is not an origin as browsers write it.
    pub fn allow_origin(self, origin: &str) -> Result<Self, OriginError> {
        let mut origins = self.0.origins.clone();
        origins.allow(origin.parse()?);
        Ok(self.with(|settings| settings.origins = origins))
    }

    /// Redirects a browser that requests a page without a session to this path
    /// of the same host, with the requested URL in `return_to`. If it sent a
    /// token, or if its log-in is too old, `max_age` has the greatest age of a
    /// log-in in seconds, so that the user must log in again. Every other
    /// request is refused.
    ///
    /// # Errors
    /// [`ConfigError::Builder`] if it is not a path like `/.hallpass/`.
    pub fn log_in_at(self, path: &str) -> Result<Self, ConfigError> {
        let path = refusal::log_in_path(path)?;
        Ok(self.with(|settings| Arc::make_mut(&mut settings.answers).log_in = Some(path)))
    }

    /// Trusts these proxies for the client's address, which goes into events
    /// and into the issuer's record of a renewed session. The peer's address
    /// comes from axum's `ConnectInfo<SocketAddr>`; without that, no address is
    /// known.
    #[must_use]
    pub fn trusted_proxies(self, proxies: TrustedProxies) -> Self {
        self.with(|settings| Arc::make_mut(&mut settings.answers).proxies = proxies)
    }

    /// Sends `sink` the outcome of each token ([`EventSink::verdict`]), an
    /// event for each refusal, and the client's address for each use of a
    /// session ([`EventSink::used`]), if it is known. It is called on the
    /// request path, so it must return at once. A
    /// [`Watch`](crate::anomaly::Watch) is such a sink.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use hallpass::event::{Event, EventSink};
    /// use hallpass::{Reason, SessionLayer, Verifier};
    ///
    /// #[derive(Default)]
    /// struct Counts { accepted: AtomicU64, refused: AtomicU64 }
    ///
    /// impl EventSink for Counts {
    ///     fn record(&self, event: Event) {
    ///         eprintln!("{} from {:?}", event.kind.name(), event.address);
    ///     }
    ///     fn verdict(&self, verdict: Result<(), Reason>) {
    ///         let count = if verdict.is_ok() { &self.accepted } else { &self.refused };
    ///         count.fetch_add(1, Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// # fn example(verifier: Verifier) -> SessionLayer {
    /// SessionLayer::new(verifier).events(Arc::new(Counts::default()))
    /// # }
    /// ```
    #[must_use]
    pub fn events(self, sink: Arc<dyn EventSink>) -> Self {
        self.with(|settings| Arc::make_mut(&mut settings.answers).events = Some(sink))
    }

    /// Sets another clock.
    #[must_use]
    pub fn with_clock<L: Clock + Clone>(self, clock: L) -> SessionLayer<L> {
        let settings = Arc::unwrap_or_clone(self.0);
        SessionLayer(Arc::new(Settings {
            verifier: settings.verifier.with_clock(clock.clone()),
            without: settings.without,
            demand: settings.demand,
            origins: settings.origins,
            answers: settings.answers,
            cookie: settings.cookie,
            #[cfg(feature = "sync")]
            renewal: settings.renewal,
            #[cfg(feature = "proof")]
            proofs: settings.proofs,
            clock,
        }))
    }
}

impl<K> Clone for SessionLayer<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S, K> Layer<S> for SessionLayer<K> {
    type Service = SessionMiddleware<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionMiddleware::new(inner, self.clone())
    }
}
