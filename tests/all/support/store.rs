//! A store as a ledger.

use std::sync::Arc;

use hallpass::Lifetimes;
use hallpass::issuer::ledger::{Outcome, RenewalRequest};
use hallpass::issuer::store::{AuditEvent, SessionCaps, SessionRecord, Store, StoreError, Target};
use hallpass::{KeyId, Session, SessionId, Subject, UnixTime};

use super::ledger::{Ledger, StartError};

/// The ledger whose rows live in a store.
#[derive(Debug)]
pub struct StoreLedger<S>(pub Arc<S>);

impl<S> Clone for StoreLedger<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Store> Ledger for StoreLedger<S> {
    type Error = StoreError;

    async fn earliest_start(&self, subject: &Subject, now: UnixTime) -> Result<UnixTime, StoreError> {
        self.0.earliest_start(subject, now).await
    }

    async fn start(
        &self,
        session: &Session,
        lifetimes: &Lifetimes,
        now: UnixTime,
    ) -> Result<(), StartError<StoreError>> {
        let record = SessionRecord::new(session, lifetimes).unwrap();
        match self.0.insert_session(record, SessionCaps::default(), None, now).await {
            Err(StoreError::StartRevoked { earliest }) => Err(StartError::Revoked(earliest)),
            other => Ok(other.map(drop)?),
        }
    }

    async fn renew(&self, request: &RenewalRequest) -> Result<Outcome, StoreError> {
        self.0.renew(request.clone()).await
    }

    async fn revoke_session(&self, id: SessionId, ends: UnixTime, now: UnixTime) -> Result<bool, StoreError> {
        let target = Target::Session { id, ends: Some(ends) };
        Ok(self.0.revoke(target, None, now).await?.added > 0)
    }

    async fn revoke_subject(&self, subject: &Subject, now: UnixTime) -> Result<bool, StoreError> {
        Ok(self.0.revoke(Target::Subject(subject.clone()), None, now).await?.added > 0)
    }

    async fn revoke_key(&self, id: KeyId, now: UnixTime) -> Result<bool, StoreError> {
        Ok(self.0.revoke(Target::Key(id), None, now).await?.added > 0)
    }

    async fn revoke_all(&self, now: UnixTime) -> Result<bool, StoreError> {
        Ok(self.0.revoke(Target::All, None, now).await?.added > 0)
    }
}

/// Store calls that many tests use.
pub(crate) trait StoreExt: Store {
    /// Enters a session without caps.
    fn insert(
        &self,
        session: SessionRecord,
        audit: Option<AuditEvent>,
        now: UnixTime,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { self.insert_session(session, SessionCaps::default(), audit, now).await.map(drop) }
    }

    fn count_live_sessions(
        &self,
        subject: &Subject,
        now: UnixTime,
    ) -> impl Future<Output = Result<usize, StoreError>> + Send {
        async move { self.live_sessions(subject, now).await.map(|live| live.len()) }
    }
}

impl<S: Store> StoreExt for S {}
