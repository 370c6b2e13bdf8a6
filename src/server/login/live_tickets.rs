//! The live tickets that this process made.

use std::time::Duration;

use crate::error::ConfigError;
use crate::replay::{NonceCache, NonceSettings, Purpose, SingleUse};
use crate::session::Session;
use crate::time::UnixTime;

/// The session has too many live tickets, or all sessions together have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many live tickets")]
pub(crate) struct TooManyTickets;

/// Limits the live tickets that this process makes. Otherwise a client could
/// fill the caches of the edges that redeem them.
pub(crate) struct LiveTickets(NonceCache);

impl LiveTickets {
    pub(crate) fn new() -> Result<Self, ConfigError> {
        // Nothing made here can be older than the start.
        let settings = NonceSettings { proofs: 1, ..NonceSettings::default() };
        NonceCache::with_settings(settings, UnixTime::EPOCH).map(Self)
    }

    pub(super) fn count(&self, ticket: &Session, now: UnixTime) -> Result<(), TooManyTickets> {
        let made = SingleUse {
            session: ticket.id(),
            nonce: *ticket.token_id().as_bytes(),
            issued: ticket.issued_at(),
            until: ticket.expires_at(),
        };
        self.0.admit(Purpose::Ticket, &made, Duration::ZERO, now).map_err(|_| TooManyTickets)
    }
}
