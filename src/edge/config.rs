//! What `edge` is told, checked before anybody is served.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::ConfigError;
use crate::http::{SessionCookie, TrustedProxies};
use crate::revocation::sync::EdgeName;
use crate::service::listen::Transport;
use crate::service::return_target::{is_base_path, is_of, is_origin, is_own_path};

/// What `edge` is told.
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    /// The issuer for this process, its base path included.
    pub(crate) issuer: String,
    /// The issuer for browsers, where that is another URL.
    pub(crate) public_issuer: Option<String>,
    /// Feed keys that are pinned; on first use otherwise.
    pub(crate) trust: Option<PathBuf>,
    pub(crate) audience: Option<String>,
    pub(crate) token_issuer: Option<String>,
    pub(crate) cache: Option<PathBuf>,
    pub(crate) base_path: String,
    /// The session cookie, as the issuer sets it.
    pub(crate) cookie: SessionCookie,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) public_origin: Option<String>,
    pub(crate) return_origins: Vec<String>,
    /// Other origins whose pages may use the cookie for what changes something.
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) stale_after: Duration,
    /// Bytes; none for no cache.
    pub(crate) token_cache: Option<usize>,
    /// What the issuer knows this edge by, and the secret for saying so.
    pub(crate) report_as: Option<(EdgeName, String)>,
    pub(crate) transport: Transport,
}

/// Who is believed unless `--trusted-proxy` says so: this machine.
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

/// A base path like `/.hallpass`, or nothing.
pub(crate) fn base_path(text: &str) -> Result<String, &'static str> {
    is_base_path(text).then(|| text.to_owned()).ok_or("write it like /.hallpass")
}

/// An origin like `https://app.example`.
pub(crate) fn origin(text: &str) -> Result<String, &'static str> {
    is_origin(text).then(|| text.to_owned()).ok_or("write it like https://app.example")
}

/// Where log-in may lead back to.
#[derive(Debug)]
pub(super) struct ReturnTargets(pub(super) Vec<String>);

impl ReturnTargets {
    /// A path of this host or a URL of an allow-listed origin; else `/`.
    pub(super) fn allowed<'a>(&self, target: Option<&'a str>) -> &'a str {
        target.filter(|target| is_own_path(target) || self.lists(target)).unwrap_or("/")
    }

    fn lists(&self, target: &str) -> bool {
        // Not where browsers and servers read a URL differently.
        target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') && is_of(&self.0, target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_in_leads_back_to_paths_and_listed_origins() {
        let targets = ReturnTargets(vec!["https://app.example".to_owned()]);
        for (allowed, target) in [
            (true, "/x?y=z"),
            (true, "https://app.example/x"),
            (false, "https://app.example:444/x"),
            (false, "http://app.example/x"),
            (false, "https://app.example.evil.example/"),
            (false, "https://app.example@evil.example/"),
            (false, "https://u:p@app.example/"),
            (false, "//app.example/"),
            (false, "https:\\\\app.example/"),
            (false, "javascript:alert(1)"),
        ] {
            assert_eq!(targets.allowed(Some(target)), if allowed { target } else { "/" }, "{target}");
        }
        assert_eq!(targets.allowed(None), "/");
    }
}
