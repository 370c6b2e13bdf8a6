//! What every route of the issuer shares.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use crate::error::ConfigError;
use crate::event::{Event, EventKind, EventSink};
use crate::http::{Credential, SESSION_COOKIE, TrustedProxies};
use crate::id::Subject;
use crate::issuer::store::{SessionRecord, SqliteStore, Store};
use crate::server::config::Config;
use crate::server::credential::SharedCredential;
use crate::server::events::Events;
use crate::server::keyring::Keyring;
use crate::server::login_service::{Client, LogInError, LoginService};
use crate::server::publisher::Publisher;
use crate::session::Session;
use crate::time::{Clock, UnixTime};
use crate::verifier::Verifier;

/// The store that the program is built with.
pub(crate) type Engine = SqliteStore;

/// The issuer while it runs.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) events: Events,
    pub(crate) keyring: Keyring,
    pub(crate) verifier: Verifier,
    pub(crate) service: Arc<LoginService<Engine>>,
    pub(crate) publisher: Publisher<Engine>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The part of the configuration that pages and answers depend on.
pub(crate) struct Settings {
    pub(crate) base_path: String,
    return_origins: Vec<String>,
    pub(crate) trusted_proxies: TrustedProxies,
    /// TLS is ended here or by a proxy in front.
    pub(crate) secure_transport: bool,
    /// What a service shows in order to start sessions.
    pub(crate) service_credential: SharedCredential,
    /// What an operator shows in order to revoke.
    pub(crate) operator_credential: SharedCredential,
    /// Content-Security-Policy of the pages.
    pub(crate) page_policy: HeaderValue,
}

impl Settings {
    pub(crate) fn new(config: &Config, secure_transport: bool) -> Result<Self, ConfigError> {
        // Browsers hold the redirect after a form to form-action too.
        let targets = config.return_origins.join(" ");
        let policy = format!(
            "default-src 'none'; style-src 'self'; form-action 'self' {targets}; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        Ok(Self {
            base_path: config.base_path.clone(),
            return_origins: config.return_origins.clone(),
            trusted_proxies: TrustedProxies::new(config.trusted_proxies.iter().map(String::as_str))?,
            secure_transport,
            service_credential: SharedCredential::from_env("HALLPASS_SERVICE_TOKEN")?,
            operator_credential: SharedCredential::from_env("HALLPASS_OPERATOR_TOKEN")?,
            page_policy: HeaderValue::try_from(policy)
                .map_err(|_| ConfigError::Builder("return_origins must be plain ASCII"))?,
        })
    }

    /// Where a browser goes after log-in: where it came from if that is
    /// allowed, else the account page.
    pub(crate) fn return_target(&self, return_to: Option<&str>) -> String {
        match return_to {
            Some(target) if self.may_return_to(target) => target.to_owned(),
            _ => format!("{}/account", self.base_path),
        }
    }

    /// A path on this host, or a URL of an allow-listed origin.
    pub(crate) fn may_return_to(&self, target: &str) -> bool {
        // Control characters and backslashes are where browsers and servers
        // read a URL differently.
        if target.contains(|c: char| c.is_control() || c == '\\') {
            return false;
        }
        if target.starts_with('/') {
            return !target.starts_with("//");
        }
        url::Url::parse(target).is_ok_and(|url| {
            url.username().is_empty()
                && url.password().is_none()
                && self.return_origins.contains(&url.origin().ascii_serialization())
        })
    }
}

impl App {
    pub(crate) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Who asks, through the proxies that are trusted.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> Client {
        Client::new(self.settings.trusted_proxies.client(peer.ip(), headers), headers)
    }

    /// A user's live sessions, the newest first.
    pub(crate) async fn sessions_of(&self, session: &Session) -> Result<Vec<SessionRecord>, LogInError> {
        let subject = Subject::new(session.subject())?;
        Ok(self.service.store.live_sessions(&subject, self.now()).await?)
    }

    /// Ends a session after the grace, so that requests under way end well.
    pub(crate) fn end_later(self: &Arc<Self>, session: Session, client: Client) {
        let app = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(app.service.grace()).await;
            if let Err(error) = app.service.log_out(&session, &client, app.now()).await {
                tracing::error!(%error, "the session before a reauthentication could not be ended");
            }
        });
    }

    /// The session of a request, if it has one. Why not is for the log alone.
    pub(crate) fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let credential = match Credential::find(headers, SESSION_COOKIE) {
            Ok(credential) => credential?,
            Err(error) => {
                tracing::info!(%error, "request refused");
                return None;
            }
        };
        match self.verifier.verify(credential.token(), self.now()) {
            Ok(session) => Some(session),
            Err(rejection) => {
                self.events.record(Event::new(EventKind::TokenRefused(rejection.reason()), self.now()));
                None
            }
        }
    }
}
