//! The state that every route of the issuer shares.

use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use std::time::Duration;

use http::HeaderValue;

use crate::error::ConfigError;
use crate::http::{Origin, SessionCookie, TrustedProxies};
use crate::id::Subject;
use crate::issuer::store::{SessionRecord, SqliteStore, Store};
use crate::server::anomalies::edges::EdgeAnomalies;
use crate::server::anomalies::webhook::Webhook;
use crate::server::config::Config;
use crate::server::feed::edges::Edges;
use crate::server::feed::keyring::Keyring;
use crate::server::feed::publisher::Publisher;
use crate::server::hosts::Hosts;
use crate::server::login::{LogInError, SessionService};
use crate::server::observe::events::Events;
use crate::server::observe::metrics::Timed;
use crate::server::operators::Operators;
use crate::server::operators::credential::SharedCredential;
use crate::service::permits::Permits;
use crate::service::return_target::ReturnTargets;
use crate::session::Session;
use crate::time::{Clock, UnixTime};

/// The store that the program uses.
pub(crate) type Engine = Timed<SqliteStore>;

/// The running issuer.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) events: Events,
    pub(crate) keyring: Keyring,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) service: Arc<SessionService<Engine>>,
    pub(crate) publisher: Publisher<Engine>,
    pub(crate) operators: Operators<Engine>,
    pub(crate) webhook: Option<Webhook>,
    pub(crate) edge_anomalies: EdgeAnomalies,
    pub(crate) edges: Edges,
    /// Permits for requests that wait.
    pub(crate) waiting: Permits,
    /// Shortest life of an event stream; a random part of up to a tenth is
    /// added.
    pub(crate) stream_life: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The configuration that pages and responses depend on.
pub(crate) struct Settings {
    pub(crate) base_path: String,
    pub(crate) cookie: SessionCookie,
    return_targets: ReturnTargets,
    pub(crate) trusted_proxies: TrustedProxies,
    /// TLS is terminated here or by a proxy in front.
    pub(crate) secure_transport: bool,
    /// Host names that the operators' address answers to, besides loopback.
    pub(crate) admin_hosts: Arc<[Box<str>]>,
    /// The credential of services that start sessions.
    pub(crate) service_credential: SharedCredential,
    /// The credential of operators who revoke.
    pub(crate) operator_credential: SharedCredential,
    /// The credential of edges that report.
    pub(crate) edge_credential: SharedCredential,
    /// The OpenAPI document, once it was asked for.
    pub(crate) openapi: OnceLock<Bytes>,
    /// Content-Security-Policy of the pages.
    pub(crate) page_policy: HeaderValue,
}

impl Settings {
    pub(crate) fn new(config: &Config, secure_transport: bool) -> Result<Self, ConfigError> {
        // Browsers apply form-action to the redirect after a form too.
        let hosts = config.hosts.iter().map(|host| &host.origin);
        let targets: Vec<_> = config.return_origins.iter().chain(hosts).map(Origin::as_str).collect();
        let targets = targets.join(" ");
        let policy = format!(
            "default-src 'none'; style-src 'self'; form-action 'self' {targets}; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        Ok(Self {
            base_path: config.base_path.clone(),
            cookie: config.cookie()?,
            return_targets: ReturnTargets::new(config.return_origins.clone()),
            trusted_proxies: TrustedProxies::new(config.trusted_proxies.iter().map(String::as_str))?,
            secure_transport,
            admin_hosts: config.admin_hosts.iter().map(|host| host.to_ascii_lowercase().into()).collect(),
            service_credential: SharedCredential::from_env("HALLPASS_SERVICE_TOKEN")?,
            operator_credential: SharedCredential::from_env("HALLPASS_OPERATOR_TOKEN")?,
            edge_credential: SharedCredential::from_env("HALLPASS_EDGE_TOKEN")?,
            openapi: OnceLock::new(),
            page_policy: HeaderValue::try_from(policy)
                .map_err(|_| ConfigError::Builder("return_origins must be plain ASCII"))?,
        })
    }

    /// Returns where a browser goes after log-in: back to where it came from if
    /// that is allowed, else to the account page.
    pub(crate) fn return_target(&self, return_to: Option<&str>) -> String {
        let account = format!("{}/account", self.base_path);
        self.return_targets.or(return_to, &account).to_owned()
    }

    /// Returns whether log-in may lead there.
    pub(crate) fn may_return_to(&self, target: &str) -> bool {
        self.return_targets.allows(target)
    }
}

impl App {
    pub(crate) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Returns a user's live sessions, the newest first.
    pub(crate) async fn sessions_of(&self, session: &Session) -> Result<Vec<SessionRecord>, LogInError> {
        let subject = Subject::new(session.subject())?;
        Ok(self.service.store.live_sessions(&subject, self.now()).await?)
    }
}
