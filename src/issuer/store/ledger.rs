//! A [`Store`] as a [`Ledger`].

use std::sync::Arc;

use super::{SessionRecord, Store, StoreError, Target, UnavailableKind};
use crate::id::{SessionId, Subject};
use crate::issuer::ledger::{Ledger, Outcome, RenewalRequest, StartError};
use crate::session::Session;
use crate::time::UnixTime;

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

    async fn start(&self, session: &Session, now: UnixTime) -> Result<(), StartError<StoreError>> {
        let record = SessionRecord::new(session)
            .map_err(|error| StoreError::unavailable(UnavailableKind::Other, error.to_string()))?;
        match self.0.insert_session(record, None, now).await {
            Err(StoreError::StartRevoked { earliest }) => Err(StartError::Revoked(earliest)),
            other => Ok(other?),
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

    async fn revoke_all(&self, now: UnixTime) -> Result<bool, StoreError> {
        Ok(self.0.revoke(Target::All, None, now).await?.added > 0)
    }
}
