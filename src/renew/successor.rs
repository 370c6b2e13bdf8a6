//! The result of renewal for one request.

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::session::Session;
use crate::time::UnixTime;

/// A token that replaces another one. It was verified and admitted here.
#[derive(Clone)]
pub struct Renewed(pub(super) Arc<RenewedToken>);

pub(super) struct RenewedToken {
    pub(super) text: Box<str>,
    pub(super) session: Session,
    pub(super) renewable_until: UnixTime,
}

impl Renewed {
    /// The token's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The session of the token.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.0.session
    }

    /// Until when the session can be renewed with it: how long the cookie is to
    /// live.
    #[must_use]
    pub fn renewable_until(&self) -> UnixTime {
        self.0.renewable_until
    }
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewed({:?})", self.session())
    }
}

/// Returns until when a session can be renewed, by the issuer's `renewable_for`.
pub(crate) fn renewable_until(session: &Session, renewable_for: Duration, now: UnixTime) -> UnixTime {
    now.saturating_add(renewable_for).clamp(session.expires_at(), session.ends_at())
}

/// The result for a token. In every case but the first, the request is served
/// with the token that it came with, unless that has expired.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Successor {
    /// It was renewed: give this one to the browser.
    Renewed(Renewed),
    /// It is not due.
    NotDue,
    /// The answer is late. A later request will get it.
    Late,
    /// The issuer does not renew it: it knows a revocation that has not arrived
    /// here yet, for example.
    Refused,
    /// The issuer is not available.
    Unavailable,
}

/// A result, or a pending one.
#[derive(Debug)]
#[must_use]
pub enum Begun {
    /// The result.
    Known(Successor),
    /// A request is under way; it goes on if this is dropped.
    Waiting(Waiting),
}

/// A pending answer.
#[derive(Clone, Debug)]
#[must_use]
pub struct Waiting {
    pub(super) answer: watch::Receiver<Option<Successor>>,
    pub(super) until: Instant,
}

impl Waiting {
    /// Waits for the answer; [`Successor::Late`] when patience is over.
    pub async fn wait(mut self) -> Successor {
        match timeout_at(self.until, self.answer.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone().unwrap_or(Successor::Unavailable),
            Ok(Err(_)) => Successor::Unavailable,
            Err(_) => Successor::Late,
        }
    }
}
