//! Shared parts of starting, renewing and ending sessions.

use std::sync::Arc;

use crate::error::ConfigError;
use crate::issuer::store::{AuditEvent, Store};
use crate::issuer::{Minter, SigningKeys};
use crate::policy::{Profile, Profiles};
use crate::server::feed::follower::Follower;
use crate::server::feed::keyring::Keyring;
use crate::server::hosts::Hosts;
use crate::server::login::limits::Limits;
use crate::server::login::live_tickets::LiveTickets;
use crate::server::login::password::PasswordChecker;
use crate::server::login::throttle::Throttle;
use crate::server::observe::events::Events;
use crate::time::UnixTime;

/// Starts, renews and ends sessions on a store.
pub(crate) struct SessionService<S> {
    pub(crate) store: Arc<S>,
    pub(crate) revocations: Follower<S>,
    pub(crate) minter: Minter,
    pub(crate) profiles: Profiles,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) keyring: Keyring,
    pub(crate) events: Events,
    pub(crate) passwords: PasswordChecker,
    pub(crate) limits: Limits,
    pub(crate) throttle: Throttle,
    pub(crate) live_tickets: LiveTickets,
}

impl<S: Store> SessionService<S> {
    /// Returns the minter of a profile's tokens.
    pub(super) fn minter(&self, profile: Profile) -> Minter {
        self.minter.with_lifetimes(*self.profiles.of(profile))
    }

    /// Returns the keys that may sign now, without revoked ones.
    pub(super) fn signing_keys(&self, now: UnixTime) -> Result<SigningKeys, ConfigError> {
        self.keyring.signing_keys(&self.revocations.revoked_keys(), now)
    }

    /// Appends to the audit trail. A failure is logged and refuses no request.
    pub(super) async fn audit(&self, event: AuditEvent, now: UnixTime) {
        if let Err(error) = self.store.append_audit(event, now).await {
            tracing::error!(%error, "the audit trail could not be written");
        }
    }

    /// Adds new revocations to this process's own list.
    pub(super) async fn catch_up(&self, now: UnixTime) {
        if let Err(error) = self.revocations.catch_up(now).await {
            // The revocation is on disk and in the feed; the background task
            // retries.
            tracing::error!(%error, "this process's own list is behind");
        }
    }
}
