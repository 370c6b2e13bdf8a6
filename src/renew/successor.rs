//! What renewal gives a request.

use core::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::session::Session;

/// A token that the issuer has renewed another one into. It has been verified
/// and admitted here.
#[derive(Clone)]
pub struct Renewed(pub(super) Arc<(Box<str>, Session)>);

impl Renewed {
    /// The token's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.0
    }

    /// The session as the token has it.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.0.1
    }
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewed({:?})", self.session())
    }
}

/// What becomes of a token. In every case but the first the request is served
/// with the token that it came with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Successor {
    /// It was renewed into this one, which the browser is to be given.
    Renewed(Renewed),
    /// It is young enough.
    NotDue,
    /// The answer is late. It will be there for a later request.
    Late,
    /// The issuer does not renew it: it knows of a revocation that has not got
    /// here yet, for example.
    Refused,
    /// The issuer can't be asked at the moment.
    Unavailable,
}

/// What is known at once.
#[derive(Debug)]
#[must_use]
pub enum Begun {
    /// This.
    Known(Successor),
    /// The issuer is being asked, whether this is waited for or not.
    Waiting(Waiting),
}

/// An answer that will come.
#[derive(Clone, Debug)]
#[must_use]
pub struct Waiting {
    pub(super) answer: watch::Receiver<Option<Successor>>,
    pub(super) until: Instant,
}

impl Waiting {
    /// The answer, or [`Successor::Late`] when patience is over.
    pub async fn wait(mut self) -> Successor {
        match timeout_at(self.until, self.answer.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone().unwrap_or(Successor::Unavailable),
            Ok(Err(_)) => Successor::Unavailable,
            Err(_) => Successor::Late,
        }
    }
}
