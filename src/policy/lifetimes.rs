//! The lifetimes of tokens and sessions. `docs/sessions.md` explains the defaults.

use std::time::Duration;

use crate::error::{ConfigError, seconds};
use crate::revocation::FeedLifetimes;
use crate::time::{self, UnixTime};

/// The durations as configured. [`Lifetimes::new`] validates them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifetimeSettings {
    /// From a token's issue to its expiry. Default 15 min, or the idle timeout
    /// or the absolute lifetime if that is less.
    pub token_max_age: Option<Duration>,
    /// The longest time without a request: a session whose newest token was
    /// issued longer ago is over. Default: the token's max age.
    pub idle_timeout: Option<Duration>,
    /// Age from which a token is renewed. Default: half of its max age.
    pub renew_after: Option<Duration>,
    /// From log-in to the session's end, whatever is renewed. Default 12 h.
    pub absolute_lifetime: Duration,
    /// Tolerated clock skew, at most 60 s. Default 5 s.
    pub leeway: Duration,
    /// How long after a renewal the old token may still be renewed. Default
    /// 60 s, or half of `renew_after` if that is less.
    pub renewal_grace: Option<Duration>,
}

impl Default for LifetimeSettings {
    fn default() -> Self {
        Self {
            token_max_age: None,
            idle_timeout: None,
            renew_after: None,
            absolute_lifetime: Duration::from_hours(12),
            leeway: Lifetimes::DEFAULT_LEEWAY,
            renewal_grace: None,
        }
    }
}

/// Validated lifetimes: whole seconds, finite, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    token_max_age: Duration,
    idle_timeout: Duration,
    renew_after: Duration,
    absolute_lifetime: Duration,
    leeway: Duration,
    renewal_grace: Duration,
}

impl Lifetimes {
    /// Default of the tolerated clock skew.
    pub const DEFAULT_LEEWAY: Duration = time::DEFAULT_LEEWAY;
    /// Largest tolerated clock skew.
    pub const MAX_LEEWAY: Duration = time::MAX_LEEWAY;
    /// Default longest age of a token.
    pub const DEFAULT_TOKEN_MAX_AGE: Duration = Duration::from_mins(15);
    /// Longest absolute lifetime: browsers keep no cookie longer
    /// (draft-ietf-httpbis-rfc6265bis §5.6.1).
    pub const MAX_ABSOLUTE: Duration = Duration::from_hours(400 * 24);

    /// # Errors
    /// [`ConfigError::Lifetimes`] that names the duration and its bounds.
    pub fn new(settings: LifetimeSettings) -> Result<Self, ConfigError> {
        let half = |d: Duration| Duration::from_secs(d.as_secs() / 2);
        let token_max_age = settings.token_max_age.unwrap_or_else(|| {
            let most = settings.idle_timeout.unwrap_or(settings.absolute_lifetime);
            Self::DEFAULT_TOKEN_MAX_AGE.min(most)
        });
        let renew_after = settings.renew_after.unwrap_or_else(|| half(token_max_age));
        let renewal_grace =
            settings.renewal_grace.unwrap_or_else(|| half(renew_after).min(Duration::from_mins(1)));
        let lifetimes = Self {
            token_max_age,
            idle_timeout: settings.idle_timeout.unwrap_or(token_max_age),
            renew_after,
            absolute_lifetime: settings.absolute_lifetime,
            leeway: settings.leeway,
            renewal_grace,
        };
        lifetimes.check(&settings).map(|()| lifetimes)
    }

    fn check(&self, settings: &LifetimeSettings) -> Result<(), ConfigError> {
        for (name, value) in [
            ("token_max_age", self.token_max_age),
            ("idle_timeout", self.idle_timeout),
            ("renew_after", self.renew_after),
            ("absolute_lifetime", self.absolute_lifetime),
            ("leeway", self.leeway),
            ("renewal_grace", self.renewal_grace),
        ] {
            if value.subsec_nanos() != 0 {
                return Err(ConfigError::Lifetimes(format!("{name} must be whole seconds")));
            }
        }
        within("absolute_lifetime", self.absolute_lifetime, Duration::from_secs(1), Self::MAX_ABSOLUTE)?;
        // The default of one follows from the other: name the one that was set.
        if settings.idle_timeout.is_some() {
            within("idle_timeout", self.idle_timeout, Duration::from_secs(1), self.absolute_lifetime)?;
        }
        within("token_max_age", self.token_max_age, Duration::from_secs(1), self.absolute_lifetime)?;
        within("idle_timeout", self.idle_timeout, self.token_max_age, self.absolute_lifetime)?;
        within("leeway", self.leeway, Duration::ZERO, Self::MAX_LEEWAY)?;
        within("renew_after", self.renew_after, Duration::ZERO, self.token_max_age)?;
        // If a token were due within two graces of its issue, tabs that are one
        // and two renewals behind could not be told from a thief.
        let half = Duration::from_secs(self.renew_after.as_secs() / 2);
        within("renewal_grace (at most half of renew_after)", self.renewal_grace, Duration::ZERO, half)
    }

    /// From a token's issue to its expiry.
    #[must_use]
    pub const fn token_max_age(&self) -> Duration {
        self.token_max_age
    }

    /// The longest time without a request.
    #[must_use]
    pub const fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Age from which a token is due for renewal.
    #[must_use]
    pub const fn renew_after(&self) -> Duration {
        self.renew_after
    }

    /// The time from log-in to the session's end.
    #[must_use]
    pub const fn absolute_lifetime(&self) -> Duration {
        self.absolute_lifetime
    }

    /// The tolerated clock skew.
    #[must_use]
    pub const fn leeway(&self) -> Duration {
        self.leeway
    }

    /// How long after its successor was seen in use a token may still be renewed.
    #[must_use]
    pub const fn renewal_grace(&self) -> Duration {
        self.renewal_grace
    }

    /// Returns `exp` of a token issued at `issued` in a session that ends at
    /// `ends`: never past the end.
    #[must_use]
    pub fn expiry(&self, issued: UnixTime, ends: UnixTime) -> UnixTime {
        issued.saturating_add(self.token_max_age).min(ends)
    }

    /// Returns until when a session can be renewed whose newest token was
    /// issued at `issued` and expires at `expires`.
    #[must_use]
    pub fn renewable_until(&self, issued: UnixTime, expires: UnixTime, ends: UnixTime) -> UnixTime {
        issued.saturating_add(self.idle_timeout).max(expires).min(ends)
    }

    /// Returns whether a token is old enough to be renewed. A token that lasts to
    /// the session's end never is: a successor could not last longer.
    #[must_use]
    pub fn due(&self, issued: UnixTime, expires: UnixTime, ends: UnixTime, now: UnixTime) -> bool {
        expires < ends && now >= issued.saturating_add(self.renew_after)
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        let LifetimeSettings { absolute_lifetime, leeway, .. } = LifetimeSettings::default();
        let token_max_age = Self::DEFAULT_TOKEN_MAX_AGE;
        Self {
            token_max_age,
            idle_timeout: token_max_age,
            renew_after: token_max_age / 2,
            absolute_lifetime,
            leeway,
            renewal_grace: Duration::from_mins(1),
        }
    }
}

/// The kind of a log-in, which decides the lifetimes of its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Most log-ins.
    #[default]
    Standard,
    /// The user asked to be remembered.
    Remembered,
}

/// The lifetimes of each profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profiles {
    standard: Lifetimes,
    remembered: Option<Lifetimes>,
}

impl Profiles {
    /// Lifetimes for all log-ins, and others for those that ask to be
    /// remembered, if that is offered.
    ///
    /// # Errors
    /// [`ConfigError::Lifetimes`] if the leeway differs: edges have one for all
    /// tokens.
    pub fn new(standard: Lifetimes, remembered: Option<Lifetimes>) -> Result<Self, ConfigError> {
        if remembered.is_some_and(|lifetimes| lifetimes.leeway != standard.leeway) {
            return Err(ConfigError::Lifetimes("leeway is the same for remembered log-ins".to_owned()));
        }
        Ok(Self { standard, remembered })
    }

    /// Returns the lifetimes of a profile. A remembered session gets the
    /// standard ones if that profile is no longer offered.
    #[must_use]
    pub fn of(&self, profile: Profile) -> &Lifetimes {
        match (profile, &self.remembered) {
            (Profile::Remembered, Some(remembered)) => remembered,
            _ => &self.standard,
        }
    }

    /// Returns the largest of all profiles, for the feed.
    #[must_use]
    pub fn largest(&self) -> FeedLifetimes {
        let other = self.remembered.unwrap_or(self.standard);
        FeedLifetimes {
            token_max_age: self.standard.token_max_age.max(other.token_max_age),
            idle_timeout: self.standard.idle_timeout.max(other.idle_timeout),
            renew_after: self.standard.renew_after.max(other.renew_after),
            leeway: self.standard.leeway,
        }
    }

    /// Returns whether users can ask to be remembered.
    #[must_use]
    pub const fn remembers(&self) -> bool {
        self.remembered.is_some()
    }
}

impl From<Lifetimes> for Profiles {
    fn from(standard: Lifetimes) -> Self {
        Self { standard, remembered: None }
    }
}

fn within(name: &str, value: Duration, least: Duration, most: Duration) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::Lifetimes(format!(
        "{name} is {}, and must be between {} and {}",
        seconds(value),
        seconds(least),
        seconds(most)
    )))
}
