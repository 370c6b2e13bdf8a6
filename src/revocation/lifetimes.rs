//! The issuer's lifetimes, as the feed states them.

use core::time::Duration;

/// The largest lifetimes of any log-in at the issuer, in whole seconds. An edge
/// uses them where it is not configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedLifetimes {
    /// From a token's issue to its expiry: 1 s to 400 days.
    pub token_max_age: Duration,
    /// How long a session can rest: at least `token_max_age`, at most 400 days.
    pub idle_timeout: Duration,
    /// The age from which a token is due for renewal: at most `token_max_age`.
    pub renew_after: Duration,
    /// The issuer's clock skew: at most 60 s.
    pub leeway: Duration,
}

impl FeedLifetimes {
    const MOST: u64 = 400 * 24 * 3600;

    /// Makes them from seconds; `None` out of bounds.
    pub(super) fn from_secs([token_max_age, idle_timeout, renew_after, leeway]: [u64; 4]) -> Option<Self> {
        let fits = (1..=Self::MOST).contains(&token_max_age)
            && (token_max_age..=Self::MOST).contains(&idle_timeout)
            && renew_after <= token_max_age
            && leeway <= 60;
        let of = Duration::from_secs;
        fits.then(|| Self {
            token_max_age: of(token_max_age),
            idle_timeout: of(idle_timeout),
            renew_after: of(renew_after),
            leeway: of(leeway),
        })
    }

    #[cfg(feature = "issuer")]
    pub(super) const fn as_secs(&self) -> [u64; 4] {
        [
            self.token_max_age.as_secs(),
            self.idle_timeout.as_secs(),
            self.renew_after.as_secs(),
            self.leeway.as_secs(),
        ]
    }
}
