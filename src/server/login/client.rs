//! The client of a request, for the session's record and the audit trail.

use std::net::IpAddr;

use http::{HeaderMap, header};

use crate::error::ConfigError;
use crate::event::{Event, EventKind};
use crate::http::cookie::DEVICE_COOKIE;
use crate::http::credential;
use crate::id::SessionId;
use crate::issuer::store::{AuditEvent, SessionRecord};
use crate::policy::Lifetimes;
use crate::session::Session;
use crate::time::UnixTime;

/// The client of a request.
pub(crate) struct Client {
    address: IpAddr,
    user_agent: Option<String>,
    /// Whether the address is the client's own, not that of a service that
    /// speaks for it.
    own_address: bool,
    pub(super) device_cookie: Option<String>,
}

impl Client {
    pub(crate) fn new(address: IpAddr, headers: &HeaderMap) -> Self {
        let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        // An IPv4 client of a dual-stack socket is one client, not two.
        Self {
            address: address.to_canonical(),
            user_agent: user_agent.map(str::to_owned),
            own_address: true,
            // Two device cookies count as none: one was planted.
            device_cookie: credential::cookie(headers, DEVICE_COOKIE).ok().flatten().map(str::to_owned),
        }
    }

    /// Marks the address as that of a service.
    pub(crate) const fn by_service(mut self) -> Self {
        self.own_address = false;
        self
    }

    /// Returns the address that limits count by.
    pub(super) fn limited_address(&self) -> Option<IpAddr> {
        self.own_address.then_some(self.address)
    }

    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns the record of a session that this client was just given.
    pub(crate) fn record(
        &self,
        session: &Session,
        lifetimes: &Lifetimes,
    ) -> Result<SessionRecord, ConfigError> {
        let record = SessionRecord::new(session, lifetimes)?;
        Ok(record.client(Some(self.address.to_string()), self.user_agent.as_deref()))
    }

    /// Makes an event for the log and other listeners.
    pub(super) const fn happened(&self, kind: EventKind, now: UnixTime) -> Event {
        Event::new(kind, now).from(self.address)
    }

    /// Makes an event for the audit trail.
    pub(crate) fn event(&self, kind: &str, subject: Option<&str>, session: Option<SessionId>) -> AuditEvent {
        AuditEvent {
            kind: kind.to_owned(),
            subject: subject.map(str::to_owned),
            session: session.map(|id| id.short_hash()),
            address: Some(self.address.to_string()),
            detail: None,
        }
    }
}
