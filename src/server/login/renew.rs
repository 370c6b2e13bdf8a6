//! Renewing a token.

use crate::error::Rejection;
use crate::event::{EventKind, EventSink as _};
use crate::http::Credential;
use crate::http::proof::RequestHead;
use crate::issuer::store::{Store, StoreError};
use crate::issuer::{self, RenewError, Renewal};
use crate::server::login::client::Client;
use crate::server::login::service::SessionService;
use crate::time::UnixTime;

impl<S: Store> SessionService<S> {
    /// Returns the successor of a token, or the token itself while it is not
    /// due.
    pub(crate) async fn renew(
        &self,
        shown: Credential<'_>,
        head: RequestHead<'_>,
        client: &Client,
        now: UnixTime,
    ) -> Result<Renewal, RenewError<StoreError>> {
        let token = self.hosts.admit_for_renewal(shown, head, now)?;
        // The store checks again inside its transaction. A revocation already
        // known here costs no write.
        self.hosts.own().check_revoked(&token, now)?;
        let keys = self.signing_keys(now).map_err(RenewError::Mint)?;
        let mut request = issuer::request(&token, &keys, &self.profiles, now);
        request.address = Some(client.address().to_string().into());
        let outcome = self.store.renew(request.clone()).await.map_err(RenewError::Ledger)?;
        let renewal = issuer::answer(outcome, shown.token(), token, &keys, &request);
        if renewal.is_ok() {
            self.events.verdict(Ok(()));
        }
        match &renewal {
            Ok(Renewal { renewed: true, token }) => {
                let event = client.happened(EventKind::SessionRenewed, now);
                self.events.record(event.session(token.session().id()));
            }
            // Not due, or a repetition: a use, but no renewal event.
            Ok(Renewal { renewed: false, token }) => {
                self.events.used(token.session().id(), client.address(), now);
            }
            Err(RenewError::Reuse { id }) => {
                self.events.record(client.happened(EventKind::TokenReuse, now).session(*id));
                // The store revoked it; this process's list must know at once.
                self.catch_up(now).await;
            }
            Err(RenewError::Refused(Rejection::Expired { .. } | Rejection::SessionEnded { .. })) => {
                self.events.record(client.happened(EventKind::UseAfterExpiry, now));
            }
            _ => {}
        }
        renewal
    }
}
