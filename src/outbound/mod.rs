//! Requests to the issuer: one address, no redirects, TLS by rustls, and
//! bounded answers.

mod backoff;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Client, Response, Url};

use crate::error::ConfigError;
use crate::time::{Clock, SystemClock};

pub(crate) use self::backoff::Backoff;

/// The options that the issuer's clients share.
pub(crate) struct Options {
    pub(crate) issuer: String,
    /// For a whole answer.
    pub(crate) timeout: Duration,
    /// The first and the longest wait after a failure.
    pub(crate) back_off: (Duration, Duration),
    pub(crate) clock: Arc<dyn Clock>,
    roots: Vec<Certificate>,
}

impl Options {
    pub(crate) fn new(issuer: String, timeout: Duration, back_off: (Duration, Duration)) -> Self {
        Self { issuer, timeout, back_off, clock: Arc::new(SystemClock), roots: Vec::new() }
    }

    /// Also trusts this certificate authority (PEM).
    pub(crate) fn trust_root(&mut self, pem: &[u8]) -> Result<(), ConfigError> {
        let root = Certificate::from_pem(pem)
            .map_err(|why| ConfigError::Key(format!("not a certificate in PEM: {why}")))?;
        self.roots.push(root);
        Ok(())
    }

    pub(crate) fn outbound(&self) -> Result<Outbound, ConfigError> {
        Outbound::new(&self.issuer, self.roots.clone(), Duration::from_secs(10).min(self.timeout))
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.back_off.0, self.back_off.1)
    }
}

/// One issuer's address, and the connections to it.
#[derive(Clone)]
pub(crate) struct Outbound {
    client: Client,
    base: Url,
}

impl Outbound {
    /// Sets up requests to the issuer at this URL, which includes its base
    /// path. `roots` are trusted besides those of the system.
    pub(crate) fn new(
        issuer: &str,
        roots: Vec<Certificate>,
        connect_timeout: Duration,
    ) -> Result<Self, ConfigError> {
        const NO_URL: ConfigError =
            ConfigError::Builder("the issuer is an http(s) URL like https://login.example");
        let base = Url::parse(issuer).map_err(|_| NO_URL)?;
        let usable = matches!(base.scheme(), "http" | "https")
            && base.query().is_none()
            && base.fragment().is_none()
            && base.has_host();
        if !usable {
            return Err(NO_URL);
        }
        // If it is set twice, the first stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect_timeout)
            // The issuer has one address, and a redirect would lead to another.
            .redirect(reqwest::redirect::Policy::none());
        if !roots.is_empty() {
            client = client.tls_certs_merge(roots);
        }
        let client = client.build().map_err(|why| ConfigError::HttpClient(why.into()))?;
        Ok(Self { client, base })
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the issuer's URL for `path`, which starts with a slash.
    pub(crate) fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// Returns whether nobody on the way to the issuer can read or change the
    /// traffic.
    pub(crate) fn is_private(&self) -> bool {
        let loopback = match self.base.host_str() {
            Some("localhost") => true,
            Some(host) => {
                host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            None => false,
        };
        self.base.scheme() == "https" || loopback
    }
}

/// Why a body was not read.
pub(crate) enum BodyError {
    Broken(reqwest::Error),
    TooLarge,
}

/// Reads the body, at most `most` bytes.
pub(crate) async fn body(mut response: Response, most: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Broken)? {
        body.extend_from_slice(&chunk);
        if body.len() > most {
            return Err(BodyError::TooLarge);
        }
    }
    Ok(body)
}

/// Returns the innermost cause, which is the informative one.
pub(crate) fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut reason: &dyn std::error::Error = &error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}
