//! Tickets: single-use tokens of a session that live for seconds, for one
//! audience and optionally one path.

use std::time::Duration;

use crate::error::ConfigError;
use crate::id::TokenId;
use crate::issuer::mint::{self, IssuedToken, Minter};
use crate::key::SigningKey;
use crate::session::Session;
use crate::time::UnixTime;
use crate::wire::claims::NewClaims;
use crate::wire::cose::Typ;

/// Why a ticket can't be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// A lifetime outside 1 s to [`Minter::MAX_TICKET_LIFETIME`], or not in
    /// whole seconds.
    #[error("a ticket lives for 1 to {} whole seconds", Minter::MAX_TICKET_LIFETIME.as_secs())]
    Lifetime,
    /// No audience, or one with control characters or over 255 bytes.
    #[error("a ticket has an audience of 1 to 255 bytes without control characters")]
    Audience,
    /// An invalid path: it must start with `/`, be visible ASCII, and have no
    /// query and no fragment.
    #[error("a ticket's path starts with '/' and has neither '?' nor '#', nor what must be escaped in a URI")]
    Path,
    /// The session is over, and a ticket can't outlive it.
    #[error("the session ended at {ends_at}, and it is {now}")]
    SessionEnded {
        /// The session's absolute end.
        ends_at: UnixTime,
        /// The time compared with.
        now: UnixTime,
    },
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Minter {
    /// Longest life of a ticket.
    pub const MAX_TICKET_LIFETIME: Duration = Duration::from_mins(5);

    /// Makes a ticket for `audience` that carries an admitted session to where
    /// the token itself can't or shouldn't go: a WebSocket handshake, a
    /// download link, another host name. It lives for `lifetime`, at most until
    /// the session's end, and is good for one use, at `path` if that is given.
    /// The ticket of a session that is bound to a key is bound to it too.
    ///
    /// # Errors
    /// [`TicketError`]; a key of the wrong use and a ticket that would be too
    /// long are [`TicketError::Config`].
    pub fn ticket<C>(
        &self,
        key: &SigningKey,
        session: &Session<C>,
        audience: &str,
        lifetime: Duration,
        path: Option<&str>,
        now: UnixTime,
    ) -> Result<IssuedToken, TicketError> {
        let bounds = Duration::from_secs(1)..=Self::MAX_TICKET_LIFETIME;
        if !bounds.contains(&lifetime) || lifetime.subsec_nanos() != 0 {
            return Err(TicketError::Lifetime);
        }
        if audience.is_empty() || audience.len() > 255 || audience.contains(char::is_control) {
            return Err(TicketError::Audience);
        }
        if !path.is_none_or(is_path) {
            return Err(TicketError::Path);
        }
        let claims = session.all_claims();
        let ends_at = claims.session.ends;
        // The session's times may be from a clock that is ahead of this one.
        let issued = now.max(claims.session.started).max(claims.session.auth_time);
        if issued >= ends_at {
            return Err(TicketError::SessionEnded { ends_at, now });
        }
        let [token_id] = mint::random()?;
        let new = NewClaims {
            issuer: self.issuer.as_deref(),
            subject: claims.subject(),
            audience: Some(audience),
            expires: issued.saturating_add(lifetime).min(ends_at),
            issued,
            token_id: TokenId::from_bytes(token_id),
            bound_to: claims.bound_to,
            session: claims.session,
            app: claims.app(),
            path,
            amr: claims.amr_bytes(),
        };
        let ticket = mint::sign(key, Typ::Ticket, &new.encode())?;
        let characters = ticket.as_str().len();
        if characters > self.max_characters {
            return Err(ConfigError::TokenTooLong { characters, limit: self.max_characters }.into());
        }
        Ok(ticket)
    }
}

/// Returns whether `path` can be the path of a request (RFC 9112 §3.2.1).
fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte))
}
