//! What every route of the issuer shares.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use crate::error::ConfigError;
use crate::http::{Credential, SESSION_COOKIE};
use crate::issuer::store::SqliteStore;
use crate::server::config::Config;
use crate::server::keyring::Keyring;
use crate::server::login_service::LoginService;
use crate::session::Session;
use crate::time::{Clock, UnixTime};
use crate::verifier::Verifier;

/// The store that the program is built with.
pub(crate) type Engine = SqliteStore;

/// The issuer while it runs.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) keyring: Keyring,
    pub(crate) verifier: Verifier,
    pub(crate) service: LoginService<Engine>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The part of the configuration that pages and answers depend on.
pub(crate) struct Settings {
    pub(crate) base_path: String,
    return_origins: Vec<String>,
    /// TLS is ended here or by a proxy in front.
    pub(crate) secure_transport: bool,
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
            secure_transport,
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
                tracing::info!(reason = %rejection.reason(), "token refused");
                None
            }
        }
    }
}
