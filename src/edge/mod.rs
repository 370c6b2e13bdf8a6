//! The forward-auth service: for every request, a proxy asks it whether the
//! request may pass and who makes it.
//!
//! It has the public keys and the revocation list, as every edge has. The only
//! call to the issuer that a request waits for is a renewal.

mod anomalies;
pub(crate) mod config;
mod ended;
mod hop;
mod identity;
mod issuer;
mod logout;
mod metrics;
mod pages;
mod scrape;
mod state;
mod verdict;
mod verify;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum_server::Handle;
use http::{HeaderValue, StatusCode, header};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use self::config::Options;
use self::issuer::IssuerClient;
use self::metrics::Metrics;
use self::state::{CrossHost, Edge};
use self::verify::{VERIFY, VERIFY_OPTIONAL};
use crate::anomaly::{Rules, Watch, Watcher};
use crate::error::ConfigError;
use crate::files;
use crate::http::csrf;
use crate::http::problem::Problem;
use crate::key::VerifyingKey;
use crate::key::exchange::MAX_KEY_SET_BYTES;
use crate::policy::StalePolicy;
use crate::renew::RenewClient;
use crate::revocation::FeedKeys;
use crate::revocation::sync::FeedClient;
use crate::service::connections::{ConnectionLimiter, ConnectionLimits};
use crate::service::listen::Listener;
use crate::service::panics::panicked;
use crate::service::return_target::ReturnTargets;
use crate::service::style::style_sheet;
use crate::time::SystemClock;
use crate::verifier::Verifier;

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Most requests that wait for the end of a session; at most three in four
/// connections.
const MOST_WAITING: u32 = 6_144;
/// The same from one network that is not a trusted proxy's.
const WAITING_PER_ADDRESS: u32 = 128;
/// No route reads a body.
const MAX_BODY: usize = 1024;

/// The forward-auth service, set up but not serving yet.
pub(crate) struct EdgeService {
    edge: Arc<Edge>,
    listener: Listener,
    /// The pinned feed keys; none if the first ones are trusted.
    trusted: Option<FeedKeys>,
    feed: FeedClient,
    watcher: Watcher,
}

impl EdgeService {
    /// Opens and checks everything, before anything is served.
    pub(crate) fn open(options: Options) -> Result<Self, ConfigError> {
        let trusted_proxies = options.trusted_proxies()?;
        let mut origins = csrf::Origins::default();
        for origin in &options.allowed_origins {
            origins.allow(origin.clone());
        }
        let issuer = IssuerClient::new(&options.issuer)?;
        let trusted = options.trust.as_deref().map(feed_keys).transpose()?;
        let mut feed = FeedClient::builder(&options.issuer);
        feed = match &trusted {
            Some(keys) => feed.trust(keys.clone()),
            None => feed.trust_on_first_use(),
        };
        if let Some(cache) = options.cache {
            feed = feed.cache_dir(cache);
        }
        if let Some((name, credential)) = options.report_as {
            feed = feed.report_as(name, credential);
        }
        let feed = feed.build()?;
        let stale = options.stale_after.map_or(StalePolicy::RefuseAfterMaxAge, StalePolicy::RefuseAfter);
        let mut verifier =
            Verifier::builder(feed.keys().clone()).revocations(feed.list().clone()).stale_policy(stale);
        verifier = match options.token_cache {
            Some(bytes) => verifier.token_cache(bytes),
            None => verifier.without_token_cache(),
        };
        if let Some(audience) = &options.audience {
            verifier = verifier.audience(audience.as_str());
        }
        if let Some(issuer) = options.token_issuer {
            verifier = verifier.issuer(issuer);
        }
        let verifier = verifier.build()?;
        let renewal = RenewClient::builder(&options.issuer, verifier.clone()).build()?;
        let public_issuer = options.public_issuer.unwrap_or(options.issuer);
        let hop = match (options.public_origin, options.audience) {
            (None, _) => None,
            (Some(origin), Some(audience)) => {
                let public_issuer = public_issuer.trim_end_matches('/').to_owned();
                Some(CrossHost { origin, public_issuer, audience })
            }
            (Some(_), None) => {
                return Err(ConfigError::Builder(
                    "an edge on a host of its own has an audience of its own: give --audience",
                ));
            }
        };
        // All requests from its proxies come from the proxies' addresses.
        let limiter = ConnectionLimiter::new(ConnectionLimits::default(), trusted_proxies.clone());
        let (watch, watcher) = Watch::new(Rules::default(), Arc::new(SystemClock));
        let edge = Edge {
            verifier,
            renewal,
            feed: feed.handle(),
            revocations: feed.list().clone(),
            issuer,
            trusted_proxies,
            origins,
            base_path: options.base_path,
            cookie: options.cookie,
            return_targets: ReturnTargets::new(options.return_origins),
            hop,
            metrics: Metrics::new()?,
            watch,
            stale,
            waiting: limiter.waiting(MOST_WAITING, WAITING_PER_ADDRESS),
        };
        let listener = Listener::bind(options.listen, options.transport)?.limited(limiter);
        Ok(Self { edge: Arc::new(edge), listener, trusted, feed, watcher })
    }

    /// Refuses feed keys that are the issuer's session keys. A key set does not
    /// name its use, and with session keys no feed would ever verify. If the
    /// issuer can't be reached, the check is skipped.
    ///
    /// # Errors
    /// [`ConfigError::Key`].
    pub(crate) async fn check_trust(&self) -> Result<(), ConfigError> {
        let Some(trusted) = &self.trusted else { return Ok(()) };
        let published = async |path| self.edge.issuer.keys(path).await.unwrap_or_default();
        let shared = |keys: &[VerifyingKey]| keys.iter().any(|key| trusted.contains(key));
        if shared(&published("/.well-known/hallpass/feed-keys").await) {
            return Ok(());
        }
        if shared(&published("/.well-known/hallpass/keys").await) {
            return Err(ConfigError::Key(
                "--trust holds session keys, which sign no feed; export the feed keys with: \
                 hallpass key export --use feed"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Returns the address it listens on.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.address()
    }

    /// Serves until `handle` stops it.
    pub(crate) async fn serve(self, handle: Handle<SocketAddr>) -> Result<(), ConfigError> {
        let anomalies = tokio::spawn(anomalies::tell(self.watcher, Arc::clone(&self.edge)));
        let feed = tokio::spawn(self.feed.run());
        let check = tokio::spawn(check_staleness(Arc::clone(&self.edge)));
        let served = self.listener.serve(router(self.edge), handle).await;
        check.abort();
        feed.abort();
        anomalies.abort();
        served
    }
}

fn feed_keys(path: &std::path::Path) -> Result<FeedKeys, ConfigError> {
    let bytes = std::fs::read(path).map_err(|why| files::error(path, why))?;
    files::check_unshared(path)?;
    if bytes.len() > MAX_KEY_SET_BYTES {
        return Err(files::error(path, "too long for a key set"));
    }
    FeedKeys::from_bytes(&bytes).map_err(|why| files::error(path, why))
}

fn router(edge: Arc<Edge>) -> Router {
    let hop = Router::new()
        .route("/start", get(hop::start))
        .route("/callback", get(hop::callback))
        .route("/logout", post(logout::log_out))
        .route("/style.css", get(style_sheet));
    let base_path = edge.base_path.clone();
    let hop = if base_path.is_empty() { hop } else { Router::new().nest(&base_path, hop) };
    let mut routes = hop
        .route("/ended", get(ended::ended))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics));
    // A proxy may keep the client's method and append its path.
    for (at, handler) in [(VERIFY, any(verify::required)), (VERIFY_OPTIONAL, any(verify::optional))] {
        routes = routes
            .route(at, handler.clone())
            .route(&format!("{at}/"), handler.clone())
            .route(&format!("{at}/{{*path}}"), handler);
    }
    let routes = routes
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "There is nothing at this address.") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This address takes another method.")
        });
    guarded(routes.with_state(edge))
}

/// Adds the layers that every route needs.
pub(crate) fn guarded(routes: Router) -> Router {
    routes
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::custom(panicked))
}

/// Warns once if the configured staleness bound does not fit the issuer's
/// tokens.
async fn check_staleness(edge: Arc<Edge>) {
    let StalePolicy::RefuseAfter(bound) = edge.stale else { return };
    edge.feed.wait_until(|status| status.as_of.is_some()).await;
    let Some(lifetimes) = edge.revocations.lifetimes() else { return };
    let max_age = lifetimes.token_max_age;
    if bound > max_age {
        tracing::warn!(
            stale_after = bound.as_secs(),
            token_max_age = max_age.as_secs(),
            "--stale-after is longer than the issuer's tokens live. While this edge is cut off, tokens \
             forged with a revoked key are accepted for longer than need be; leave the flag out"
        );
    }
}

/// Ready once a feed has come and while it is not stale. Otherwise every token
/// is refused.
async fn ready(State(edge): State<Arc<Edge>>) -> Response {
    match edge.feed.status().age(edge.now()) {
        Some(age) if edge.stale.bound(edge.revocations.lifetimes()).is_some_and(|bound| age > bound) => {
            not_ready("The revocation feed is stale.")
        }
        Some(_) => "ready\n".into_response(),
        None => not_ready("No revocation feed has come yet."),
    }
}

fn not_ready(why: &'static str) -> Response {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

async fn metrics(State(edge): State<Arc<Edge>>) -> Response {
    match edge.metrics.text(&edge, edge.now()) {
        Ok(text) => {
            let kind = HeaderValue::from_static(prometheus::TEXT_FORMAT);
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
