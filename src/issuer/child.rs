//! Child sessions: what a hop to another host starts there.

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
    /// The first token of the session that a hop's `ticket` starts at the host
    /// of `audience`. Subject, authentication and the application's claims are
    /// the parent's, byte for byte; it ends no later than the parent.
    ///
    /// Its id follows from the ticket's: a store that refuses a second session
    /// of one id thereby redeems the ticket once, whatever process is asked and
    /// whatever was restarted. A session bound to a key has no children.
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
        };
        let payload = claims.encode();
        self.check_room(payload.len())?;
        mint::sign(key, Typ::Session, &payload)
    }
}

/// As random as the ticket's own id, which is 16 random bytes.
fn child_id(parent: SessionId, ticket: TokenId) -> SessionId {
    let digest = Sha256::new_with_prefix(b"hallpass child")
        .chain_update(parent.as_bytes())
        .chain_update(ticket.as_bytes())
        .finalize();
    let mut id = [0; SessionId::LEN];
    id.copy_from_slice(&digest[..SessionId::LEN]);
    SessionId::from_bytes(id)
}
