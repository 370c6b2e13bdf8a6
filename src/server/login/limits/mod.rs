//! Limits on clients: attempts to log in, new sessions and live sessions.
//! Limits on attempts are checked before the password.
//!
//! Failures of an account and live sessions are counted in the store. So they
//! outlive a restart and hold for every process on it. Rates are counted in
//! memory, in tables of bounded size.

mod device;
mod rate;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use governor::clock::DefaultClock;

use crate::error::ConfigError;
use crate::event::Limit;
use crate::http::network_of;
use crate::id::{SessionId, SubjectHash};
use crate::issuer::store::{AttemptRule, Cap, SessionCaps, Store};
use crate::server::config::limits::LimitsTable;
pub(crate) use device::{DEVICE_LIFETIME, Devices};
use rate::Rate;

/// An attempt that exceeded a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    /// Which limit.
    pub(crate) limit: Limit,
    /// When to try again: one second at least.
    pub(crate) retry_after: Duration,
}

impl Limited {
    pub(crate) fn new(limit: Limit, wait: Duration) -> Self {
        // Retry-After has whole seconds (RFC 9110 §10.2.3).
        let rounded = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self { limit, retry_after: Duration::from_secs(rounded.max(1)) }
    }
}

/// The configured limits.
pub(crate) struct Limits {
    attempts: Rate<IpAddr, DefaultClock>,
    sessions_of_address: Rate<IpAddr, DefaultClock>,
    sessions_of_account: Rate<SubjectHash, DefaultClock>,
    feeds: Rate<IpAddr, DefaultClock>,
    snapshots: Rate<IpAddr, DefaultClock>,
    table: LimitsTable,
    pub(crate) devices: Devices,
}

impl Limits {
    /// Sets up the limits of this table, with the store's secret for device
    /// cookies.
    pub(crate) async fn open(table: LimitsTable, store: &impl Store) -> Result<Self, ConfigError> {
        let secret = store.secret(Devices::PURPOSE).await.map_err(|why| ConfigError::Serve(why.into()))?;
        let entries = table.entries as usize;
        Ok(Self {
            attempts: Rate::new(table.attempts_per_address, entries, DefaultClock::default()),
            sessions_of_address: Rate::new(table.new_sessions_per_address, entries, DefaultClock::default()),
            sessions_of_account: Rate::new(table.new_sessions_per_account, entries, DefaultClock::default()),
            feeds: Rate::new(table.feed_requests_per_address, entries, DefaultClock::default()),
            snapshots: Rate::new(table.feed_snapshots_per_address, entries, DefaultClock::default()),
            devices: Devices::new(secret),
            table,
        })
    }

    /// Checks whether another password may be tried from this address.
    pub(crate) fn attempt(&self, address: IpAddr) -> Result<(), Limited> {
        self.attempts.check(&network_of(address)).map_err(|wait| Limited::new(Limit::Address, wait))
    }

    /// Checks whether another session may start for this account, and from this
    /// address if it is the client's own.
    pub(crate) fn new_session(&self, account: SubjectHash, address: Option<IpAddr>) -> Result<(), Limited> {
        if let Some(address) = address {
            self.sessions_of_address
                .check(&network_of(address))
                .map_err(|wait| Limited::new(Limit::SessionsOfAddress, wait))?;
        }
        self.sessions_of_account.check(&account).map_err(|wait| Limited::new(Limit::SessionsOfAccount, wait))
    }

    /// Checks whether this address may request the feed again.
    pub(crate) fn feed(&self, address: IpAddr) -> Result<(), Limited> {
        self.feeds.check(&network_of(address)).map_err(|wait| Limited::new(Limit::Feed, wait))
    }

    /// Checks whether this address may be sent another snapshot: the whole
    /// list.
    pub(crate) fn snapshot(&self, address: IpAddr) -> Result<(), Limited> {
        self.snapshots.check(&network_of(address)).map_err(|wait| Limited::new(Limit::Feed, wait))
    }

    /// Returns the rule for counting failures.
    pub(crate) const fn rule(&self) -> AttemptRule {
        self.table.rule()
    }

    /// Returns the caps on live sessions for a new one from this address.
    pub(crate) fn caps(&self, address: Option<IpAddr>, replaces: Option<SessionId>) -> SessionCaps {
        let table = &self.table;
        let account = Cap { most: table.sessions_per_account, when_full: table.when_account_is_full };
        let of_network = Cap { most: table.sessions_per_address, when_full: table.when_address_is_full };
        SessionCaps {
            account: Some(account),
            network: address.map(|address| (network_of(address).to_string(), of_network)),
            replaces,
        }
    }
}
