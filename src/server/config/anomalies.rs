//! `[anomalies]` and `[webhook]` of the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::anomaly::{AnomalyKind, Rule, Rules};
use crate::error::ConfigError;
use crate::server::config::duration::optional_duration;

/// `[anomalies]`: the detectors' bounds, and a table for each kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AnomaliesTable {
    /// Networks, users and sessions that each detector tracks.
    pub keys: Option<usize>,
    /// Largest step of the clock that is not reported.
    #[serde(deserialize_with = "optional_duration")]
    pub clock_step: Option<Duration>,
    /// How long a throttled network is refused log-in.
    #[serde(deserialize_with = "optional_duration")]
    pub throttle_for: Option<Duration>,
    /// By the kind's name. [`Self::actions`] refuses unknown ones.
    #[serde(flatten)]
    pub kinds: BTreeMap<String, KindTable>,
}

/// `[anomalies.KIND]`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KindTable {
    /// The count from which it is an anomaly.
    pub threshold: Option<u32>,
    /// The time within which to count.
    #[serde(deserialize_with = "optional_duration")]
    pub window: Option<Duration>,
    /// The action besides reporting.
    pub action: Action,
}

/// The action on an anomaly besides reporting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// None.
    #[default]
    Log,
    /// Refuse log-ins from the network for a while.
    Throttle,
    /// End the session, or all of the user's.
    Revoke,
}

/// `[webhook]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookTable {
    /// Where anomalies are posted.
    pub url: Option<String>,
}

/// The action for each kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Actions {
    by_kind: [Action; AnomalyKind::COUNT],
    pub(crate) throttle_for: Duration,
}

impl Actions {
    pub(crate) const fn of(&self, kind: AnomalyKind) -> Action {
        self.by_kind[kind as usize]
    }
}

impl AnomaliesTable {
    /// Returns the detectors' rules.
    ///
    /// # Errors
    /// [`ConfigError::Builder`] for invalid bounds.
    pub fn rules(&self) -> Result<Rules, ConfigError> {
        let mut rules = Rules::default();
        if let Some(keys) = self.keys {
            rules = rules.keys(keys)?;
        }
        if let Some(step) = self.clock_step {
            rules = rules.clock_step(step);
        }
        for (kind, table) in self.kinds()? {
            let default = rules.of(kind);
            let threshold = table.threshold.unwrap_or(default.threshold());
            rules = rules.set(kind, Rule::new(threshold, table.window.unwrap_or(default.window()))?);
        }
        Ok(rules)
    }

    /// Returns the action for each kind.
    ///
    /// # Errors
    /// [`ConfigError::Builder`] for an unknown kind, or for an action on
    /// something that the kind doesn't name.
    pub(crate) fn actions(&self) -> Result<Actions, ConfigError> {
        let mut by_kind = [Action::Log; AnomalyKind::COUNT];
        for (kind, table) in self.kinds()? {
            match table.action {
                Action::Throttle if !kind.has_network() => {
                    return Err(ConfigError::Builder(
                        "[anomalies]: only token_guessing, password_spraying, creation_flood, replay and \
                         renewal_reuse name a network to throttle",
                    ));
                }
                Action::Revoke if !kind.has_proven_owner() => {
                    return Err(ConfigError::Builder(
                        "[anomalies]: only creation_flood, replay, renewal_reuse and \
                         session_on_many_networks can revoke; by the others a stranger could log people out",
                    ));
                }
                action => by_kind[kind as usize] = action,
            }
        }
        Ok(Actions { by_kind, throttle_for: self.throttle_for.unwrap_or(Duration::from_mins(10)) })
    }

    fn kinds(&self) -> Result<Vec<(AnomalyKind, KindTable)>, ConfigError> {
        let known = |(name, table): (&String, &KindTable)| {
            AnomalyKind::from_name(name).map(|kind| (kind, *table)).ok_or(ConfigError::Builder(
                "[anomalies] has keys, clock_step, throttle_for, and a table for each kind of anomaly",
            ))
        };
        self.kinds.iter().map(known).collect()
    }
}
