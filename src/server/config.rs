//! The configuration file: TOML, every key optional, unknown keys refused.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::error::ConfigError;
use crate::files;
use crate::issuer::Minter;
use crate::policy::{LifetimeSettings, Lifetimes};
use crate::server::limits::LimitsTable;

/// What `serve --config F` reads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the issuer's paths start, like `/.hallpass`; empty for the root.
    pub base_path: String,
    /// Origins besides the issuer's own that log-in may lead back to, like
    /// `https://app.example`.
    pub return_origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed, like `10.0.0.7` or
    /// `10.0.0.0/8`.
    pub trusted_proxies: Vec<String>,
    /// How long tokens and sessions live.
    pub lifetimes: LifetimesTable,
    /// What tokens say.
    pub tokens: TokensTable,
    /// How much anybody may ask for.
    pub limits: LimitsTable,
}

/// `[lifetimes]`: durations like `"15m"` or `"90s"`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LifetimesTable {
    /// A token's max age.
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Option<Duration>,
    /// Age from which a token is renewed.
    #[serde(deserialize_with = "duration")]
    pub renew_after: Option<Duration>,
    /// From log-in to the end.
    #[serde(deserialize_with = "duration")]
    pub absolute_lifetime: Option<Duration>,
    /// Clock skew forgiven.
    #[serde(deserialize_with = "duration")]
    pub leeway: Option<Duration>,
    /// How long an old token may still be renewed.
    #[serde(deserialize_with = "duration")]
    pub renewal_grace: Option<Duration>,
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

impl Config {
    /// # Errors
    /// [`ConfigError::File`] with the line that is wrong.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|why| files::error(path, why))?;
        let config: Self = toml::from_str(&text).map_err(|why| files::error(path, why))?;
        config.check().map_err(|why| files::error(path, why))?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let path = &self.base_path;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if !path.is_empty() && (!path.starts_with('/') || path.ends_with('/') || !path.chars().all(plain)) {
            return Err(format!("base_path is {path:?}, and must be like \"/.hallpass\""));
        }
        for origin in &self.return_origins {
            let same = url::Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin);
            if !same {
                return Err(format!(
                    "return_origins has {origin:?}, and must have origins like \"https://app.example\""
                ));
            }
        }
        self.limits.check()
    }

    /// # Errors
    /// [`ConfigError::Lifetimes`] that names the duration and its bounds.
    pub fn lifetimes(&self) -> Result<Lifetimes, ConfigError> {
        let (table, defaults) = (&self.lifetimes, LifetimeSettings::default());
        Lifetimes::new(LifetimeSettings {
            idle_timeout: table.idle_timeout.unwrap_or(defaults.idle_timeout),
            renew_after: table.renew_after,
            absolute_lifetime: table.absolute_lifetime.unwrap_or(defaults.absolute_lifetime),
            leeway: table.leeway.unwrap_or(defaults.leeway),
            renewal_grace: table.renewal_grace,
        })
    }

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

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map(Some)
        .map_err(|error| serde::de::Error::custom(format!("{error}; write it like \"15m\" or \"90s\"")))
}
