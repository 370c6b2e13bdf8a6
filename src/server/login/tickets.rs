//! Tickets: made for edges, and for the hop to another host, where one comes
//! back for a child session.

use std::time::Duration;

use crate::error::{ConfigError, Rejection};
use crate::event::{Event, EventKind, EventSink};
use crate::id::Subject;
use crate::issuer::store::{SessionRecord, Store, StoreError};
use crate::issuer::{IssuedToken, TicketError};
use crate::replay::{NonceCache, NonceSettings, Purpose, SingleUse};
use crate::server::hosts::Host;
use crate::server::login::{Client, LogInError, LoginService, START_ATTEMPTS};
use crate::session::Session;
use crate::time::UnixTime;

/// How long the browser has from one host to the other.
const HOP: Duration = Duration::from_secs(30);

/// What a ticket is to be good for.
pub(crate) struct Wanted<'a> {
    pub(crate) audience: &'a str,
    pub(crate) path: Option<&'a str>,
    pub(crate) lifetime: Duration,
}

/// Why there is no ticket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// The session has as many live tickets as it may have, or all have.
    #[error("too many live tickets")]
    TooMany,
}

/// The live tickets that this process made, so that nobody fills the caches of
/// those that redeem them.
pub(crate) struct LiveTickets(NonceCache);

impl LiveTickets {
    pub(crate) fn new() -> Result<Self, ConfigError> {
        // Nothing that is made here can be from before the start.
        let settings = NonceSettings { proofs: 1, ..NonceSettings::default() };
        NonceCache::with_settings(settings, UnixTime::EPOCH).map(Self)
    }

    fn count(&self, ticket: &Session, now: UnixTime) -> Result<(), IssueError> {
        let made = SingleUse {
            session: ticket.id(),
            nonce: *ticket.token_id().as_bytes(),
            issued: ticket.issued_at(),
            until: ticket.expires_at(),
        };
        self.0.admit(Purpose::Ticket, &made, Duration::ZERO, now).map_err(|_| IssueError::TooMany)
    }
}

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
            // The parent was ended after the ticket was looked at.
            LogInError::Store(StoreError::ParentOver) => Self::Refused(Rejection::Revoked { by: "session" }),
            error => Self::Start(error),
        }
    }
}

impl<S: Store> LoginService<S> {
    /// A single-use token of `session`.
    pub(crate) fn ticket(
        &self,
        session: &Session,
        wanted: &Wanted<'_>,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, IssueError> {
        let keys = self
            .keyring
            .signing_keys(&self.revocations.revoked_keys(), now)
            .map_err(|error| IssueError::Ticket(error.into()))?;
        let Wanted { audience, path, lifetime } = *wanted;
        let ticket = self.minter.ticket(keys.newest(), session, audience, lifetime, path, now)?;
        self.live_tickets.count(ticket.session(), now)?;
        let event = client.happened(EventKind::TicketIssued, now).session(session.id());
        self.events.record(event.of(Subject::new(session.subject()).ok()));
        Ok(ticket)
    }

    /// A ticket that takes `session` to `host`.
    pub(crate) fn hop(
        &self,
        session: &Session,
        host: &Host,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, IssueError> {
        let wanted = Wanted { audience: &host.audience, path: Some(host.callback()), lifetime: HOP };
        self.ticket(session, &wanted, client, now)
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
        // As at a renewal: what was signed with a stolen key, to say something
        // else of a session that is, must not be signed again with the next.
        let genuine =
            |row: &SessionRecord| row.row.carried == parent.all_claims().carried_for(row.audience.as_deref());
        let Some(record) = record.filter(genuine) else {
            return Err(HopError::Refused(Rejection::Revoked { by: "session" }));
        };
        let (address, agent) = (record.address, record.user_agent);
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
                    let event = Event::new(EventKind::SessionCreated, now).session(session.id());
                    self.events.record(event.of(Some(subject)));
                    return Ok(token);
                }
            }
        }
        Err(LogInError::Busy.into())
    }
}
