//! Ending sessions.

use std::net::IpAddr;

use crate::event::{Event, EventKind, EventSink as _};
use crate::id::{SessionId, Subject};
use crate::issuer::store::{AuditEvent, Revoked, Store, StoreError, Target};
use crate::server::login::client::Client;
use crate::server::login::error::LogInError;
use crate::server::login::service::SessionService;
use crate::session::Session;
use crate::time::{MAX_LEEWAY, UnixTime};
use crate::verify::VerifiedToken;

impl<S: Store> SessionService<S> {
    /// Ends the sessions that a reauthentication replaced, after their grace.
    /// Call it every second or so.
    pub(crate) async fn end_replaced(&self, now: UnixTime) -> Result<(), StoreError> {
        if let Some(revoked) = self.store.end_replaced(now).await? {
            for _ in 0..revoked.added {
                self.events.record(Event::new(EventKind::SessionEnded, now));
            }
            self.catch_up(now).await;
        }
        Ok(())
    }

    /// Ends sessions for good. They are on disk before this returns, and this
    /// process's own requests know at once. `from` is the address of the client
    /// that ends them, if there is one.
    pub(crate) async fn revoke(
        &self,
        target: Target,
        event: Option<AuditEvent>,
        from: Option<IpAddr>,
        now: UnixTime,
    ) -> Result<Revoked, StoreError> {
        let (of, mut ended) = (target.name(), ended(&target, now));
        ended.address = from;
        let revoked = self.store.revoke(target, event, now).await?;
        if revoked.added > 0 {
            self.events.metrics.revoked(of);
            self.events.record(ended);
        }
        self.catch_up(now).await;
        Ok(revoked)
    }

    /// Ends the session of a genuine token with its whole family: a log-out at
    /// one host is a log-out at all of them. The token may be expired, renewed
    /// or not yet valid, since its session may still live.
    pub(crate) async fn log_out(
        &self,
        token: &VerifiedToken,
        client: &Client,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let claims = token.claims();
        let (id, ends) = (claims.session.session_id, claims.session.ends);
        if now >= ends.saturating_add(MAX_LEEWAY) {
            // No edge accepts it any more, whatever its leeway.
            return Ok(());
        }
        let event = client.event("session_ended", Some(claims.subject()), Some(id));
        let target = Target::Family { id, ends: Some(ends) };
        self.revoke(target, Some(event), Some(client.address()), now).await.map(drop)
    }

    /// Ends another session of the same user, on all hosts. Returns whether it
    /// was theirs.
    pub(crate) async fn end_session(
        &self,
        session: &Session,
        id: SessionId,
        client: &Client,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let found = self.store.find_session(id).await?;
        let Some(record) = found.filter(|record| record.subject.as_str() == session.subject()) else {
            return Ok(false);
        };
        let target = Target::Family { id, ends: Some(record.ends) };
        let event = client.event("session_ended", Some(session.subject()), Some(id));
        self.revoke(target, Some(event), Some(client.address()), now).await?;
        Ok(true)
    }

    /// Ends every other session of the same user.
    pub(crate) async fn end_others(
        &self,
        session: &Session,
        client: &Client,
        now: UnixTime,
    ) -> Result<Revoked, LogInError> {
        let target =
            Target::OtherSessions { subject: Subject::new(session.subject())?, except: session.id() };
        let event = client.event("other_sessions_ended", Some(session.subject()), Some(session.id()));
        Ok(self.revoke(target, Some(event), Some(client.address()), now).await?)
    }
}

/// Makes the event of an ending: of one session, of a user's, or of many.
fn ended(target: &Target, now: UnixTime) -> Event {
    let event = Event::new(EventKind::SessionEnded, now);
    match target {
        Target::Session { id, .. } | Target::Family { id, .. } => event.session(*id),
        Target::Subject(subject) | Target::OtherSessions { subject, .. } => event.of(Some(subject.clone())),
        Target::Key(_) | Target::All => event,
    }
}
