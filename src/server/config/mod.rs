//! The configuration file: TOML, every key optional, unknown keys refused.

pub(crate) mod anomalies;
pub(crate) mod duration;
pub(crate) mod limits;

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::error::ConfigError;
use crate::files;
use crate::http::host::without_port;
use crate::http::{Origin, SessionCookie};
use crate::issuer::Minter;
use crate::policy::{LifetimeSettings, Lifetimes, Profiles};
use crate::server::config::anomalies::{AnomaliesTable, WebhookTable};
use crate::server::config::duration::optional_duration;
use crate::server::config::limits::LimitsTable;
use crate::service::return_target::is_base_path;
use crate::verifier::VerifierBuilder;

/// The file that `serve --config F` reads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Prefix of the issuer's paths, like `/.hallpass`; empty for the root.
    pub base_path: String,
    /// The domain whose hosts get the session cookie, like `example.com`. If
    /// unset, only the issuer's own host gets it.
    pub cookie_domain: Option<String>,
    /// Where clients see the issuer, like `https://login.example`. Proofs of
    /// clients with keys name this origin. The request's own origin if unset.
    pub public_origin: Option<Origin>,
    /// Origins besides the issuer's own that log-in may lead back to, like
    /// `https://app.example`.
    pub return_origins: Vec<Origin>,
    /// Proxies whose `X-Forwarded-For` is believed, like `10.0.0.7` or
    /// `10.0.0.0/8`.
    pub trusted_proxies: Vec<String>,
    /// Host names that the operators' address answers to besides loopback, like
    /// `ops.example`.
    pub admin_hosts: Vec<String>,
    /// How long tokens and sessions live.
    pub lifetimes: LifetimesTable,
    /// What tokens contain.
    pub tokens: TokensTable,
    /// Bounds on what clients may ask for.
    pub limits: LimitsTable,
    /// Thresholds of the anomalies and the actions on them.
    pub anomalies: AnomaliesTable,
    /// Where anomalies are posted.
    pub webhook: WebhookTable,
    /// Edges on other hosts that have cross-host log-in.
    pub hosts: Vec<HostTable>,
    /// What is cached for speed.
    pub cache: CacheTable,
}

/// `[lifetimes]`: durations like `"15m"` or `"90s"`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LifetimesTable {
    /// A token's max age.
    #[serde(deserialize_with = "optional_duration")]
    pub token_max_age: Option<Duration>,
    /// The longest time without a request.
    #[serde(deserialize_with = "optional_duration")]
    pub idle_timeout: Option<Duration>,
    /// Age at which a token is due for renewal.
    #[serde(deserialize_with = "optional_duration")]
    pub renew_after: Option<Duration>,
    /// From log-in to the end.
    #[serde(deserialize_with = "optional_duration")]
    pub absolute_lifetime: Option<Duration>,
    /// Tolerated clock skew.
    #[serde(deserialize_with = "optional_duration")]
    pub leeway: Option<Duration>,
    /// How long an old token may still be renewed.
    #[serde(deserialize_with = "optional_duration")]
    pub renewal_grace: Option<Duration>,
    /// `[lifetimes.remembered]`: those of log-ins that ask to be remembered.
    pub remembered: Option<Box<LifetimesTable>>,
}

impl LifetimesTable {
    /// Absolute lifetime of remembered sessions: NIST SP 800-63B-4 §2.1.3 asks
    /// for at most 30 days at AAL1.
    const REMEMBERED_ABSOLUTE: Duration = Duration::from_hours(30 * 24);
    const REMEMBERED_IDLE: Duration = Duration::from_hours(14 * 24);

    /// Returns the lifetimes of remembered log-ins, whose tokens are like all
    /// others unless configured.
    fn remembered(&self, standard: &Lifetimes) -> Result<Option<Lifetimes>, ConfigError> {
        let Some(table) = &self.remembered else { return Ok(None) };
        if table.remembered.is_some() {
            return Err(ConfigError::Lifetimes("[lifetimes.remembered] has no remembered of its own".into()));
        }
        let absolute = table.absolute_lifetime.unwrap_or(Self::REMEMBERED_ABSOLUTE);
        let idle = table.idle_timeout.unwrap_or_else(|| Self::REMEMBERED_IDLE.min(absolute));
        let lifetimes = Lifetimes::new(LifetimeSettings {
            token_max_age: Some(table.token_max_age.unwrap_or_else(|| standard.token_max_age().min(idle))),
            idle_timeout: Some(idle),
            renew_after: table.renew_after,
            absolute_lifetime: absolute,
            leeway: table.leeway.unwrap_or(standard.leeway()),
            renewal_grace: table.renewal_grace,
        });
        let named = |why| match why {
            ConfigError::Lifetimes(why) => ConfigError::Lifetimes(format!("remembered: {why}")),
            why => why,
        };
        lifetimes.map(Some).map_err(named)
    }
}

/// `[tokens]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokensTable {
    /// `aud` of every token.
    pub audience: Option<Box<str>>,
    /// `iss` of every token.
    pub issuer: Option<Box<str>>,
    /// Longest token to make, in characters.
    pub max_characters: Option<usize>,
}

/// `[[hosts]]`: an edge on another host, which a `__Host-` cookie of this host
/// does not reach.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostTable {
    /// Its origin, like `https://b.example`.
    pub origin: Origin,
    /// `aud` of its tokens, different from every other host's.
    pub audience: Box<str>,
    /// Prefix of the edge's own paths on it.
    #[serde(default = "edge_base_path")]
    pub base_path: String,
}

fn edge_base_path() -> String {
    "/.hallpass".to_owned()
}

/// `[cache]`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheTable {
    /// Most memory for verified tokens, in MiB; 0 for none.
    pub tokens_mib: Option<usize>,
}

impl CacheTable {
    /// Sets the verifier's token cache.
    ///
    /// # Errors
    /// [`ConfigError::Builder`] for more memory than a machine has.
    pub(crate) fn apply(self, verifier: VerifierBuilder) -> Result<VerifierBuilder, ConfigError> {
        match self.tokens_mib {
            None => Ok(verifier),
            Some(0) => Ok(verifier.without_token_cache()),
            Some(mib @ 1..=65_536) => Ok(verifier.token_cache(mib << 20)),
            Some(_) => Err(ConfigError::Builder("cache.tokens_mib is at most 65536")),
        }
    }
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`ConfigError::File`] with the invalid line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|why| files::error(path, why))?;
        let config: Self = toml::from_str(&text).map_err(|why| files::error(path, why))?;
        config.check().map_err(|why| files::error(path, why))?;
        config.anomalies.rules().map_err(|why| files::error(path, why))?;
        config.anomalies.actions().map_err(|why| files::error(path, why))?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        check_base_path(&self.base_path)?;
        self.cookie().map_err(|why| why.to_string())?;
        if self.cookie_domain.is_some() && !self.hosts.is_empty() {
            return Err("cookie_domain and [[hosts]] are two ways to the same: choose one".to_owned());
        }
        for name in &self.admin_hosts {
            if without_port(name).as_deref() != Some(&*name.to_ascii_lowercase()) {
                return Err(format!(
                    "admin_hosts has {name:?}; write a host without a port, like \"ops.example\""
                ));
            }
        }
        for (at, host) in self.hosts.iter().enumerate() {
            check_base_path(&host.base_path)?;
            let audience = &host.audience;
            if audience.is_empty() || audience.len() > 255 || audience.contains(char::is_control) {
                return Err(format!("the audience of {} has 1 to 255 bytes", host.origin));
            }
            // Otherwise its tokens would be valid at this issuer or at the
            // other host.
            let taken = self.tokens.audience.as_ref() == Some(audience)
                || self.hosts[..at].iter().any(|other| other.audience == *audience);
            if taken {
                return Err(format!(
                    "{} needs an audience of its own, and {audience:?} is taken",
                    host.origin
                ));
            }
            if self.hosts[..at].iter().any(|other| other.origin == host.origin) {
                return Err(format!("the host {} is there twice", host.origin));
            }
        }
        self.limits.check()
    }

    /// Returns the session cookie.
    ///
    /// # Errors
    /// [`ConfigError::Builder`] for an invalid `cookie_domain`.
    pub fn cookie(&self) -> Result<SessionCookie, ConfigError> {
        self.cookie_domain.as_deref().map_or(Ok(SessionCookie::host_only()), SessionCookie::of_domain)
    }

    /// Returns the lifetimes, with defaults for missing keys.
    ///
    /// # Errors
    /// [`ConfigError::Lifetimes`] that names the duration and its bounds.
    pub fn lifetimes(&self) -> Result<Lifetimes, ConfigError> {
        let (table, defaults) = (&self.lifetimes, LifetimeSettings::default());
        Lifetimes::new(LifetimeSettings {
            token_max_age: table.token_max_age,
            idle_timeout: table.idle_timeout,
            renew_after: table.renew_after,
            absolute_lifetime: table.absolute_lifetime.unwrap_or(defaults.absolute_lifetime),
            leeway: table.leeway.unwrap_or(defaults.leeway),
            renewal_grace: table.renewal_grace,
        })
    }

    /// Returns the lifetimes of all profiles.
    ///
    /// # Errors
    /// As [`Config::lifetimes`].
    pub fn profiles(&self) -> Result<Profiles, ConfigError> {
        let standard = self.lifetimes()?;
        Profiles::new(standard, self.lifetimes.remembered(&standard)?)
    }

    /// Returns the minter of tokens.
    ///
    /// # Errors
    /// As [`Config::lifetimes`], and [`ConfigError::Builder`] for a
    /// `max_characters` over 4,000.
    pub fn minter(&self) -> Result<Minter, ConfigError> {
        let tokens = &self.tokens;
        let minter =
            Minter::new(self.lifetimes()?).audience(tokens.audience.clone()).issuer(tokens.issuer.clone());
        match tokens.max_characters {
            Some(characters) => minter.max_characters(characters),
            None => Ok(minter),
        }
    }
}

fn check_base_path(path: &str) -> Result<(), String> {
    if !is_base_path(path) {
        return Err(format!("base_path is {path:?}, and must be like \"/.hallpass\""));
    }
    Ok(())
}
