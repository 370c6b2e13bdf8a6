//! The hop to another host: a ticket out, a child session back.

use std::time::Duration;

use crate::error::Rejection;
use crate::event::{EventKind, EventSink};
use crate::id::Subject;
use crate::issuer::store::{SessionRecord, Store, StoreError};
use crate::issuer::{IssuedToken, TicketError};
use crate::server::hosts::Host;
use crate::server::login_service::{Client, LogInError, LoginService, START_ATTEMPTS};
use crate::session::Session;
use crate::time::UnixTime;

/// How long the browser has from one host to the other.
const HOP: Duration = Duration::from_secs(30);

/// Why a hop's ticket opens nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HopError {
    #[error(transparent)]
    Refused(#[from] Rejection),
    #[error(transparent)]
    Start(LogInError),
}

impl<E: Into<LogInError>> From<E> for HopError {
    fn from(error: E) -> Self {
        match error.into() {
            // The child of this ticket is there already, so it was used.
            LogInError::Store(StoreError::SessionExists) => Self::Refused(Rejection::Replayed),
            error => Self::Start(error),
        }
    }
}

impl<S: Store> LoginService<S> {
    /// A ticket that takes `session` to `host`.
    pub(crate) fn hop(
        &self,
        session: &Session,
        host: &Host,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, TicketError> {
        let keys = self.keyring.signing_keys(&self.revocations.revoked_keys(), now)?;
        let ticket =
            self.minter.ticket(keys.newest(), session, &host.audience, HOP, Some(host.callback()), now)?;
        let event = client.happened(EventKind::TicketIssued, now).session(session.id());
        self.events.record(event.of(Subject::new(session.subject()).ok()));
        Ok(ticket)
    }

    /// The child session that the ticket of a hop opens, once.
    pub(crate) async fn land(
        &self,
        ticket: &str,
        host: &Host,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, HopError> {
        let parent = host.redeem(ticket, now)?;
        let subject = Subject::new(parent.subject())?;
        let event = client.happened(EventKind::TicketRedeemed, now).session(parent.id());
        self.events.record(event.of(Some(subject.clone())));

        // An edge asks, whose address says nothing of the user's.
        let record = self.store.find_session(parent.id()).await?;
        let (address, agent) = record.map_or((None, None), |parent| (parent.address, parent.user_agent));
        let keys = self.keyring.signing_keys(&self.revocations.revoked_keys(), now)?;
        let mut started = self.store.earliest_start(&subject, now).await?;
        for _ in 0..START_ATTEMPTS {
            let token = self.minter.child(keys.newest(), &parent, &host.audience, started, now)?;
            let session = token.session();
            let record = SessionRecord { parent: Some(parent.id()), ..SessionRecord::new(session)? };
            let record = record.client(address.clone(), agent.as_deref());
            let event = client.event("session_created", Some(session.subject()), Some(session.id()));
            match self.store.insert_session(record, Some(event), now).await {
                Err(StoreError::StartRevoked { earliest }) => started = earliest,
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    let event = client.happened(EventKind::SessionCreated, now).session(session.id());
                    self.events.record(event.of(Some(subject)));
                    return Ok(token);
                }
            }
        }
        Err(LogInError::Busy.into())
    }
}
