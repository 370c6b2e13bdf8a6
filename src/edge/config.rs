//! Options of `edge`, checked before anything is served.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::ConfigError;
use crate::http::{Origin, SessionCookie, TrustedProxies};
use crate::revocation::sync::EdgeName;
use crate::service::listen::TlsMode;
use crate::service::return_target::is_base_path;

/// Options of `edge`.
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    /// The issuer's URL for this process, its base path included.
    pub(crate) issuer: String,
    /// The issuer's URL for browsers, if it is another one.
    pub(crate) public_issuer: Option<String>,
    /// The file with pinned feed keys; without it, the first ones are trusted.
    pub(crate) trust: Option<PathBuf>,
    pub(crate) audience: Option<String>,
    pub(crate) token_issuer: Option<String>,
    pub(crate) cache: Option<PathBuf>,
    pub(crate) base_path: String,
    /// The session cookie, as the issuer sets it.
    pub(crate) cookie: SessionCookie,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) public_origin: Option<Origin>,
    pub(crate) return_origins: Vec<Origin>,
    /// Other origins whose pages may make requests with the cookie that change
    /// something.
    pub(crate) allowed_origins: Vec<Origin>,
    pub(crate) stale_after: Option<Duration>,
    /// In bytes; `None` for no cache.
    pub(crate) token_cache: Option<usize>,
    /// This edge's name at the issuer, and the edge credential.
    pub(crate) report_as: Option<(EdgeName, String)>,
    pub(crate) transport: TlsMode,
}

/// Proxies trusted without `--trusted-proxy`: this machine.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

impl Options {
    pub(super) fn trusted_proxies(&self) -> Result<TrustedProxies, ConfigError> {
        if self.trusted_proxies.is_empty() {
            TrustedProxies::new(LOOPBACK)
        } else {
            TrustedProxies::new(self.trusted_proxies.iter().map(String::as_str))
        }
    }
}

/// Parses a base path like `/.hallpass`, or an empty one.
pub(crate) fn base_path(text: &str) -> Result<String, &'static str> {
    is_base_path(text).then(|| text.to_owned()).ok_or("write it like /.hallpass")
}
