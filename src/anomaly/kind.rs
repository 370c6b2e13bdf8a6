//! The kinds of anomaly and their names.

/// The kind of an [`Anomaly`](super::Anomaly).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnomalyKind {
    /// One network sends tokens that nobody signed.
    TokenGuessing,
    /// Many log-ins as one user fail.
    PasswordGuessing,
    /// One network fails to log in as many users.
    PasswordSpraying,
    /// Many networks fail to log in as one user.
    DistributedGuessing,
    /// Log-ins as very many users fail, from any networks.
    CredentialStuffing,
    /// One network, or one user, creates many sessions.
    CreationFlood,
    /// Used tickets or proofs are presented again.
    Replay,
    /// An old token was renewed after its successor was in use: one was stolen.
    RenewalReuse,
    /// One session is used from many networks at once.
    SessionOnManyNetworks,
    /// A clock was set, or tokens come from the future.
    ClockTrouble,
    /// An edge receives no revocations.
    StaleEdge,
    /// A nonce cache is full of live entries, and refuses.
    NoncesFull,
}

/// The names of a kind in different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Names {
    /// In the configuration, metrics, the audit trail and webhooks.
    pub name: &'static str,
    /// In logs: from the OWASP logging vocabulary, where that has one.
    pub log: &'static str,
}

impl AnomalyKind {
    /// The number of kinds.
    pub const COUNT: usize = 12;

    /// All kinds.
    pub const ALL: &[Self] = &Self::EACH;

    pub(super) const EACH: [Self; Self::COUNT] = [
        Self::TokenGuessing,
        Self::PasswordGuessing,
        Self::PasswordSpraying,
        Self::DistributedGuessing,
        Self::CredentialStuffing,
        Self::CreationFlood,
        Self::Replay,
        Self::RenewalReuse,
        Self::SessionOnManyNetworks,
        Self::ClockTrouble,
        Self::StaleEdge,
        Self::NoncesFull,
    ];

    /// Its names.
    #[must_use]
    pub const fn names(self) -> Names {
        let (name, log) = match self {
            Self::TokenGuessing => ("token_guessing", "malicious_extraneous"),
            Self::PasswordGuessing => ("password_guessing", "authn_login_fail_max"),
            Self::PasswordSpraying => ("password_spraying", "authn_login_fail_max"),
            Self::DistributedGuessing => ("distributed_guessing", "authn_login_fail_max"),
            Self::CredentialStuffing => ("credential_stuffing", "authn_login_fail_max"),
            Self::CreationFlood => ("creation_flood", "excess_rate_limit_exceeded"),
            Self::Replay => ("replay", "authn_token_reuse"),
            Self::RenewalReuse => ("renewal_reuse", "authn_token_reuse"),
            Self::SessionOnManyNetworks => ("session_on_many_networks", "authn_impossible_travel"),
            Self::ClockTrouble => ("clock_trouble", "sys_clock_trouble"),
            Self::StaleEdge => ("stale_edge", "sys_stale_edge"),
            Self::NoncesFull => ("nonces_full", "sys_nonces_full"),
        };
        Names { name, log }
    }

    /// [`Names::name`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.names().name
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::EACH.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns whether it names a network.
    #[must_use]
    pub const fn has_network(self) -> bool {
        matches!(
            self,
            Self::TokenGuessing
                | Self::PasswordSpraying
                | Self::CreationFlood
                | Self::Replay
                | Self::RenewalReuse
        )
    }

    /// Returns whether it names a session or user that a verified token or a
    /// correct password proved. Anomalies that anybody can cause by typing a
    /// name are excluded: they must log nobody out.
    #[must_use]
    pub const fn has_proven_owner(self) -> bool {
        matches!(self, Self::CreationFlood | Self::Replay | Self::RenewalReuse | Self::SessionOnManyNetworks)
    }
}

impl core::fmt::Display for AnomalyKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
