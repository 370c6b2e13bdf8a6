//! The thresholds of the anomalies.

use std::time::Duration;

use super::kind::AnomalyKind;
use crate::error::ConfigError;

/// A threshold within a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    threshold: u32,
    window: Duration,
}

impl Rule {
    /// Largest threshold. Where different things are counted, the detector
    /// remembers each.
    pub const MAX_THRESHOLD: u32 = 1000;
    /// Longest window.
    pub const MAX_WINDOW: Duration = Duration::from_hours(24);

    /// The default threshold and window of a kind.
    #[must_use]
    pub const fn default_for(kind: AnomalyKind) -> Self {
        let (threshold, seconds) = match kind {
            AnomalyKind::TokenGuessing => (20, 60),
            AnomalyKind::PasswordGuessing => (20, 600),
            AnomalyKind::PasswordSpraying => (10, 600),
            AnomalyKind::DistributedGuessing => (5, 600),
            AnomalyKind::CredentialStuffing => (100, 600),
            AnomalyKind::CreationFlood => (60, 60),
            AnomalyKind::Replay => (3, 300),
            AnomalyKind::RenewalReuse => (1, 60),
            AnomalyKind::SessionOnManyNetworks => (4, 300),
            AnomalyKind::ClockTrouble => (5, 300),
            AnomalyKind::StaleEdge => (30, 3600),
            AnomalyKind::NoncesFull => (1, 300),
        };
        Self { threshold, window: Duration::from_secs(seconds) }
    }

    /// `threshold` (1 to 1,000) within `window` (whole seconds, 1 s to 24 h).
    ///
    /// # Errors
    /// [`ConfigError::Builder`] outside of these bounds.
    pub fn new(threshold: u32, window: Duration) -> Result<Self, ConfigError> {
        if !(1..=Self::MAX_THRESHOLD).contains(&threshold) {
            return Err(ConfigError::Builder("an anomaly's threshold is 1 to 1000"));
        }
        if window.subsec_nanos() != 0 || !(Duration::from_secs(1)..=Self::MAX_WINDOW).contains(&window) {
            return Err(ConfigError::Builder("an anomaly's window is whole seconds, 1s to 24h"));
        }
        Ok(Self { threshold, window })
    }

    /// The count from which it is an anomaly.
    #[must_use]
    pub const fn threshold(self) -> u32 {
        self.threshold
    }

    /// The window. Each key raises one anomaly in it.
    #[must_use]
    pub const fn window(self) -> Duration {
        self.window
    }
}

/// The rules of a [`Detector`](super::Detector).
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    by_kind: [Rule; AnomalyKind::COUNT],
    pub(super) keys: usize,
    pub(super) clock_step: Duration,
}

impl Rules {
    /// Default number of networks, users or sessions that each detector
    /// remembers. One that newer ones displaced starts anew.
    pub const DEFAULT_KEYS: usize = 10_000;

    /// Returns the rule of one kind.
    #[must_use]
    pub const fn of(&self, kind: AnomalyKind) -> Rule {
        self.by_kind[kind as usize]
    }

    /// Sets the rule of one kind.
    #[must_use]
    pub const fn set(mut self, kind: AnomalyKind, rule: Rule) -> Self {
        self.by_kind[kind as usize] = rule;
        self
    }

    /// Sets how many networks, users or sessions each detector remembers: 100
    /// to 1,000,000.
    ///
    /// # Errors
    /// [`ConfigError::Builder`] out of these bounds.
    pub fn keys(mut self, keys: usize) -> Result<Self, ConfigError> {
        if !(100..=1_000_000).contains(&keys) {
            return Err(ConfigError::Builder("the detectors of anomalies keep 100 to 1000000 keys in mind"));
        }
        self.keys = keys;
        Ok(self)
    }

    /// Sets the largest step of a clock that is not reported; default 5 s, the
    /// default leeway.
    #[must_use]
    pub const fn clock_step(mut self, step: Duration) -> Self {
        self.clock_step = step;
        self
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            by_kind: AnomalyKind::EACH.map(Rule::default_for),
            keys: Self::DEFAULT_KEYS,
            clock_step: Duration::from_secs(5),
        }
    }
}
