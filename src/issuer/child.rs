//! Child sessions: the sessions that a cross-host log-in starts on another
//! host.

use sha2::{Digest, Sha256};

use crate::error::ConfigError;
use crate::id::{SessionId, TokenId};
use crate::issuer::mint::{self, IssuedToken, Minter};
use crate::key::SigningKey;
use crate::session::Session;
use crate::time::UnixTime;
use crate::wire::claims::{NewClaims, SessionPart};
use crate::wire::cose::Typ;

impl Minter {
    /// Makes the first token of the session that a cross-host `ticket` starts
    /// at the host of `audience`. It copies the parent's subject,
    /// authentication and application claims, byte for byte, and ends no later
    /// than the parent.
    ///
    /// Its id is derived from the ticket's. So a store that refuses a second
    /// session with one id redeems the ticket once, also across processes and
    /// restarts. A session bound to a key has no children.
    ///
    /// # Errors
    /// [`ConfigError::KeyUse`] for a feed key, [`ConfigError::TokenTooLong`],
    /// and [`ConfigError::Claims`] if the parent ends before `started`.
    pub fn child<C>(
        &self,
        key: &SigningKey,
        ticket: &Session<C>,
        audience: &str,
        started: UnixTime,
        now: UnixTime,
    ) -> Result<IssuedToken, ConfigError> {
        let parent = ticket.all_claims();
        if parent.bound_to.is_some() {
            return Err(ConfigError::Claims("a session bound to a key has no children".into()));
        }
        let latest = started.saturating_add(self.lifetimes().absolute_lifetime());
        let ends = parent.session.ends.min(latest);
        let issued = now.max(started).max(parent.session.auth_time);
        let [token_id] = mint::random()?;
        let claims = NewClaims {
            issuer: self.issuer.as_deref(),
            subject: parent.subject(),
            audience: Some(audience),
            expires: self.lifetimes().expiry(issued, ends),
            issued,
            token_id: TokenId::from_bytes(token_id),
            bound_to: None,
            session: SessionPart {
                session_id: child_id(parent.session.session_id, parent.token_id),
                started,
                ends,
                generation: 0,
                auth_time: parent.session.auth_time,
            },
            app: parent.app(),
            path: None,
            amr: parent.amr_bytes(),
        };
        let payload = claims.encode();
        self.check_room(payload.len())?;
        let renewable = self.lifetimes().renewable_until(issued, claims.expires, ends);
        Ok(mint::sign(key, Typ::Session, &payload)?.renewable(renewable))
    }
}

/// The ticket's id is 16 random bytes, so this is as random.
fn child_id(parent: SessionId, ticket: TokenId) -> SessionId {
    let digest = Sha256::new_with_prefix(b"hallpass child")
        .chain_update(parent.as_bytes())
        .chain_update(ticket.as_bytes())
        .finalize();
    let mut id = [0; SessionId::LEN];
    id.copy_from_slice(&digest[..SessionId::LEN]);
    SessionId::from_bytes(id)
}
