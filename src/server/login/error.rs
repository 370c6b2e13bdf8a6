//! Why a log-in failed.

use std::time::Duration;

use crate::error::ConfigError;
use crate::id::SubjectError;
use crate::issuer::store::StoreError;
use crate::proof::ProofError;
use crate::server::login::limits::Limited;

/// Why a log-in failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogInError {
    /// Wrong name or password, or a disabled user. Only the log tells which.
    #[error("wrong user name or password")]
    Refused,
    /// The network was throttled after an anomaly.
    #[error("log-ins from this network are refused for {} s", .0.as_secs())]
    Throttled(Duration),
    /// Too many passwords are being checked.
    #[error("too many log-ins at once")]
    Busy,
    /// Too many attempts, so no password was checked; or too many new sessions.
    #[error("too many attempts ({})", .0.limit.name())]
    Limited(Limited),
    /// The proof that should bind the session to a key is invalid.
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Token(#[from] ConfigError),
}

impl From<SubjectError> for LogInError {
    fn from(error: SubjectError) -> Self {
        Self::Token(error.into())
    }
}
