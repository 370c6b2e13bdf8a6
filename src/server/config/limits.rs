//! `[limits]` of the configuration.

use std::time::Duration;

use serde::Deserialize;

use crate::issuer::store::{AttemptRule, WhenFull};
use crate::server::config::duration::duration;
use crate::service::connections::ConnectionLimits;

/// `[limits]`. Defaults and bounds are in docs/operations.md.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsTable {
    /// Wrong passwords for an account before the first wait.
    pub failures_before_wait: u32,
    /// The first wait; each further failure doubles it.
    #[serde(deserialize_with = "duration")]
    pub first_wait: Duration,
    /// The longest wait.
    #[serde(deserialize_with = "duration")]
    pub longest_wait: Duration,
    /// Consecutive failures after which an account's password is not checked
    /// any more.
    pub most_failures: u32,
    /// How many unknown names are tracked with their failures.
    pub names_of_nobody: u32,
    /// Passwords tried from one address.
    pub attempts_per_address: RateTable,
    /// Sessions started from one address.
    pub new_sessions_per_address: RateTable,
    /// Sessions started for one account.
    pub new_sessions_per_account: RateTable,
    /// Requests for the feed from one address.
    pub feed_requests_per_address: RateTable,
    /// Snapshots of the feed sent to one address.
    pub feed_snapshots_per_address: RateTable,
    /// How many addresses, or accounts, each rate table has room for.
    pub entries: u32,
    /// Live sessions of one account.
    pub sessions_per_account: u32,
    /// What happens to one session more.
    pub when_account_is_full: WhenFull,
    /// Live sessions started from one address.
    pub sessions_per_address: u32,
    /// What happens to one session more.
    pub when_address_is_full: WhenFull,
    /// Open connections in all.
    pub connections: u32,
    /// Open connections from one address that is not a trusted proxy's.
    pub connections_per_address: u32,
    /// How long a connection may have bytes to send while the peer reads none.
    #[serde(deserialize_with = "duration")]
    pub stalled_after: Duration,
    /// Requests that wait for revocations, in all; three quarters of the
    /// connections at most.
    pub waiting: u32,
    /// The same from one client address, as a trusted proxy reports it.
    pub waiting_per_address: u32,
    /// Shortest life of an event stream; a random part of up to a tenth is
    /// added.
    #[serde(deserialize_with = "duration")]
    pub stream_life: Duration,
}

/// A rate: `{ burst = 100, per_minute = 60 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateTable {
    /// How many at once.
    pub burst: u32,
    /// How many in the long run.
    pub per_minute: u32,
}

impl Default for LimitsTable {
    fn default() -> Self {
        Self {
            failures_before_wait: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_mins(15),
            most_failures: 100,
            names_of_nobody: 10_000,
            attempts_per_address: RateTable { burst: 100, per_minute: 60 },
            new_sessions_per_address: RateTable { burst: 100, per_minute: 60 },
            new_sessions_per_account: RateTable { burst: 60, per_minute: 30 },
            feed_requests_per_address: RateTable { burst: 2000, per_minute: 12_000 },
            feed_snapshots_per_address: RateTable { burst: 300, per_minute: 300 },
            entries: 100_000,
            sessions_per_account: 50,
            when_account_is_full: WhenFull::EndOldest,
            sessions_per_address: 1000,
            when_address_is_full: WhenFull::Refuse,
            connections: ConnectionLimits::default().all,
            connections_per_address: ConnectionLimits::default().per_address,
            stalled_after: ConnectionLimits::default().stalled_after,
            waiting: 4096,
            waiting_per_address: 64,
            stream_life: Duration::from_mins(10),
        }
    }
}

impl LimitsTable {
    /// Checks every key against its bounds.
    ///
    /// # Errors
    /// A message that names the first key out of its bounds.
    pub(crate) fn check(&self) -> Result<(), String> {
        const MILLION: u64 = 1_000_000;
        let least_of_failures = u64::from(AttemptRule::KEPT_FOR_DEVICES) + 2;
        let rates = [
            ("attempts_per_address", self.attempts_per_address),
            ("new_sessions_per_address", self.new_sessions_per_address),
            ("new_sessions_per_account", self.new_sessions_per_account),
            ("feed_requests_per_address", self.feed_requests_per_address),
            ("feed_snapshots_per_address", self.feed_snapshots_per_address),
        ];
        for (name, rate) in rates {
            within(&format!("{name}.burst"), rate.burst.into(), 1, MILLION)?;
            within(&format!("{name}.per_minute"), rate.per_minute.into(), 1, MILLION)?;
        }
        within("most_failures", self.most_failures.into(), least_of_failures, 100)?;
        within("failures_before_wait", self.failures_before_wait.into(), 1, 20)?;
        within("first_wait in seconds", self.first_wait.as_secs(), 1, 60)?;
        within("longest_wait in seconds", self.longest_wait.as_secs(), self.first_wait.as_secs(), 86_400)?;
        within("names_of_nobody", self.names_of_nobody.into(), 100, MILLION)?;
        within("entries", self.entries.into(), 100, MILLION)?;
        within("sessions_per_account", self.sessions_per_account.into(), 1, 10_000)?;
        within("sessions_per_address", self.sessions_per_address.into(), 1, MILLION)?;
        within("connections", self.connections.into(), 16, MILLION)?;
        within("connections_per_address", self.connections_per_address.into(), 1, self.connections.into())?;
        within("stalled_after in seconds", self.stalled_after.as_secs(), 1, 600)?;
        within("waiting", self.waiting.into(), 1, MILLION)?;
        within("waiting_per_address", self.waiting_per_address.into(), 1, MILLION)?;
        within("stream_life in seconds", self.stream_life.as_secs(), 1, 86_400)
    }

    pub(crate) const fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            all: self.connections,
            per_address: self.connections_per_address,
            stalled_after: self.stalled_after,
        }
    }

    pub(crate) const fn rule(&self) -> AttemptRule {
        AttemptRule {
            free: self.failures_before_wait,
            first_wait: self.first_wait,
            longest_wait: self.longest_wait,
            most: self.most_failures,
            names_of_nobody: self.names_of_nobody,
        }
    }
}

fn within(name: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("limits.{name} is {value}, and must be from {least} to {most}"))
    }
}
