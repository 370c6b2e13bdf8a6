//! `hallpass edge`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum_server::Handle;
use clap::Args;
use serde_json::json;

use super::log::to_stderr as log_to_stderr;
use super::{Failure, duration, print_json, runtime};
use crate::edge::EdgeService;
use crate::edge::config::{Options, base_path};
use crate::http::{Origin, SessionCookie};
use crate::revocation::sync::EdgeName;
use crate::service::listen::{TlsMode, stop_on_signal};

/// The environment variable with the edge credential.
const EDGE_TOKEN: &str = "HALLPASS_EDGE_TOKEN";

#[derive(Args)]
pub(super) struct EdgeArgs {
    /// The address to listen on, like 127.0.0.1:8782; for proxies, not for clients
    #[arg(long)]
    listen: SocketAddr,
    /// The login service's URL, its base path included
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// The same as browsers reach it, where that is another URL
    #[arg(long, value_name = "URL")]
    public_issuer: Option<String>,
    /// The feed keys ('hallpass key export --use feed') to believe; without them those are
    /// believed that the issuer gives first
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// The audience that is required; without it, tokens that name one are refused
    #[arg(long)]
    audience: Option<String>,
    /// The 'iss' that is required; without it, tokens that name one are refused
    #[arg(long, value_name = "NAME")]
    token_issuer: Option<String>,
    /// Where the last feed is kept, to start from while the issuer is down
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Where log-in pages are on the protected host
    #[arg(long, default_value = "/.hallpass", value_name = "PATH", value_parser = base_path)]
    base_path: String,
    /// The domain of the session cookie, if the login service sets it for one
    #[arg(long, value_name = "DOMAIN", value_parser = SessionCookie::of_domain, conflicts_with = "public_origin")]
    cookie_domain: Option<SessionCookie>,
    /// A proxy that may ask, by address or network; may be given several times
    /// [default: this machine's loopback addresses]
    #[arg(long, value_name = "NET")]
    trusted_proxy: Vec<String>,
    /// The protected host's own origin, if the login service is on another host: needed for
    /// cross-host log-in
    #[arg(long, value_name = "ORIGIN", requires = "audience")]
    public_origin: Option<Origin>,
    /// Another origin that log-in may lead back to; may be given several times
    #[arg(long, value_name = "ORIGIN", requires = "public_origin")]
    return_origin: Vec<Origin>,
    /// Another origin whose pages may send POSTs and the like with the cookie; may be given
    /// several times
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<Origin>,
    /// Age of the feed from which every token is refused [default: a token's max
    /// age, as the issuer states it]
    #[arg(long, value_parser = duration)]
    stale_after: Option<Duration>,
    /// Memory for verified tokens, in MiB; 0 for none
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    token_cache: usize,
    /// Tells the issuer every 10 s under this name how far this edge is, with the
    /// issuer's `HALLPASS_EDGE_TOKEN` from the environment
    #[arg(long, value_name = "NAME")]
    report_as: Option<String>,
    /// The certificate chain, PEM
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// What is between the proxies and this address is as good as TLS
    #[arg(long, conflicts_with = "tls_cert")]
    behind_tls_proxy: bool,
}

impl EdgeArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        log_to_stderr();
        let transport = match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => TlsMode::Tls { cert, key },
            _ if self.behind_tls_proxy => TlsMode::BehindTlsProxy,
            _ => TlsMode::Plain,
        };
        let scheme = if matches!(transport, TlsMode::Tls { .. }) { "https" } else { "http" };
        let options = Options {
            listen: self.listen,
            issuer: self.issuer,
            public_issuer: self.public_issuer,
            trust: self.trust,
            audience: self.audience,
            token_issuer: self.token_issuer,
            cache: self.cache,
            base_path: self.base_path,
            cookie: self.cookie_domain.unwrap_or_default(),
            trusted_proxies: self.trusted_proxy,
            public_origin: self.public_origin,
            return_origins: self.return_origin,
            allowed_origins: self.allow_origin,
            stale_after: self.stale_after,
            token_cache: (self.token_cache > 0).then(|| self.token_cache.saturating_mul(1024 * 1024)),
            report_as: self.report_as.map(report_as).transpose()?,
            transport,
        };
        runtime()?.block_on(async {
            let edge = EdgeService::open(options)?;
            edge.check_trust().await?;
            let address = edge.address()?;
            let handle = Handle::new();
            tokio::spawn(stop_on_signal(handle.clone()));
            print_json(&json!({ "listening": format!("{scheme}://{address}") }))?;
            Ok(edge.serve(handle).await?)
        })
    }
}

/// Pairs the edge's name with the edge credential.
fn report_as(name: String) -> Result<(EdgeName, String), Failure> {
    let secret = std::env::var(EDGE_TOKEN).ok().filter(|secret| !secret.is_empty());
    let secret = secret.ok_or_else(|| {
        Failure::Setup(format!("--report-as needs the issuer's {EDGE_TOKEN} in the environment"))
    })?;
    Ok((EdgeName::new(name)?, secret))
}
