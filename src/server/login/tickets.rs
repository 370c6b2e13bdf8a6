//! Tickets for edges, and for the hop to another host, where one opens a child
//! session.

use std::time::Duration;

use crate::error::{Rejection, RevokedBy};
use crate::event::{Event, EventKind, EventSink};
use crate::id::Subject;
use crate::issuer::store::{SessionCaps, SessionRecord, Store, StoreError};
use crate::issuer::{IssuedToken, TicketError};
use crate::key::SigningKey;
use crate::server::hosts::Host;
use crate::server::login::client::Client;
use crate::server::login::error::LogInError;
use crate::server::login::live_tickets::TooManyTickets;
use crate::server::login::service::SessionService;
use crate::server::login::start::NewRecord;
use crate::session::Session;
use crate::time::UnixTime;

/// How long the browser has to get from one host to the other.
const HOP: Duration = Duration::from_secs(30);

/// The scope of a requested ticket.
pub(crate) struct Wanted<'a> {
    pub(crate) audience: &'a str,
    pub(crate) path: Option<&'a str>,
    pub(crate) lifetime: Duration,
}

/// Why no ticket was issued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    #[error(transparent)]
    Ticket(#[from] TicketError),
    #[error(transparent)]
    TooMany(#[from] TooManyTickets),
}

/// Why a hop's ticket opens no session.
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
            // The child of this ticket exists already, so the ticket was used.
            LogInError::Store(StoreError::SessionExists) => Self::Refused(Rejection::Replayed),
            // The parent was ended after the ticket was verified.
            LogInError::Store(StoreError::ParentOver) => {
                Self::Refused(Rejection::Revoked { by: RevokedBy::Session })
            }
            error => Self::Start(error),
        }
    }
}

impl<S: Store> SessionService<S> {
    /// Issues a single-use token of `session`.
    pub(crate) fn ticket(
        &self,
        session: &Session,
        wanted: &Wanted<'_>,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, IssueError> {
        let keys = self.signing_keys(now).map_err(|error| IssueError::Ticket(error.into()))?;
        let Wanted { audience, path, lifetime } = *wanted;
        let ticket = self.minter.ticket(keys.newest(), session, audience, lifetime, path, now)?;
        self.live_tickets.count(ticket.session(), now)?;
        let event = client.happened(EventKind::TicketIssued, now).session(session.id());
        self.events.record(event.of(Subject::new(session.subject()).ok()));
        Ok(ticket)
    }

    /// Issues a ticket that takes `session` to `host`.
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

    /// Opens the child session of a hop's ticket, once.
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

        // The caller is an edge, so the user's address comes from the parent's
        // record.
        let record = self.store.find_session(parent.id()).await?;
        // As at a renewal: a token forged with a stolen key may change a
        // session's claims. It must not be signed again with the next key.
        let genuine =
            |row: &SessionRecord| row.row.carried == parent.all_claims().carried_for(row.audience.as_deref());
        let Some(record) = record.filter(genuine) else {
            return Err(HopError::Refused(Rejection::Revoked { by: RevokedBy::Session }));
        };
        let (address, agent, profile) = (record.address, record.user_agent, record.row.profile);
        let minter = self.minter(profile);
        let mint = |key: &SigningKey, started| minter.child(key, &parent, &host.audience, started, now);
        let row = |session: &Session| {
            let mut row = SessionRecord::new(session, minter.lifetimes())?;
            (row.parent, row.row.profile) = (Some(parent.id()), profile);
            let audit = client.event("session_created", Some(session.subject()), Some(session.id()));
            // Cross-host log-in has its own limits and does not count against
            // the session caps.
            Ok(NewRecord {
                row: row.client(address.clone(), agent.as_deref()),
                caps: SessionCaps::default(),
                audit,
            })
        };
        let (token, _) = self.start_session(&subject, now, mint, row).await?;
        let event = Event::new(EventKind::SessionCreated, now).session(token.session().id());
        self.events.record(event.of(Some(subject)));
        Ok(token)
    }
}
