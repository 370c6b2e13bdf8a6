//! What can go wrong in a store, and what to do about it.

use crate::time::UnixTime;

/// A store's answer other than yes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is such a user.
    #[error("there is a user '{0}' already; 'hallpass user passwd' changes the password")]
    UserExists(String),
    /// There is no such user.
    #[error("there is no user '{0}'; 'hallpass user list' shows who there is")]
    NoUser(String),
    /// The user was disabled, or got another password, while logging in.
    #[error("the user was changed during the log-in; log in again")]
    UserChanged,
    /// A revocation covers the session's start.
    #[error("a revocation covers the session's start; it can start at {earliest}")]
    StartRevoked {
        /// The earliest start that no revocation covers.
        earliest: UnixTime,
    },
    /// The parent session is revoked or ended, or ends before its child.
    #[error("the session that this one was to hang on has ended; log in again")]
    ParentOver,
    /// There are as many live sessions as there may be.
    #[error("there are as many sessions as there may be; end one, or wait until one has ended")]
    SessionsExceeded(super::CapScope),
    /// A session of this id is there.
    #[error("a session of this id exists; ids must be new random bytes")]
    SessionExists,
    /// The database can't be used; whether it soon can is for its kind to say.
    /// Nothing was changed, except where a commit was cut off: then either all
    /// of the call was done or nothing, and asking again is safe.
    #[error("{kind}{}", detail.as_ref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Unavailable {
        /// What is wrong.
        kind: UnavailableKind,
        /// What the engine says.
        detail: Option<String>,
    },
}

/// Why a database can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnavailableKind {
    /// Another process holds it. Worth another try.
    #[error("the database is busy: another process has held it for too long; try again")]
    Busy,
    /// No room.
    #[error("the disk is full; make room in the data directory")]
    DiskFull,
    /// The disk fails, or the directory may not be written.
    #[error("the database can't be read or written; look at the disk and at the data directory's owner")]
    Io,
    /// The file is damaged or something else.
    #[error("the database file is damaged or none; restore a backup")]
    Corrupt,
    /// A row that this version can't have written.
    #[error("a row of the database is damaged; restore a backup")]
    Damaged,
    /// This handle was closed.
    #[error("the store is shutting down")]
    Closed,
    /// An unforeseen error.
    #[error("the database did something unforeseen; please report it")]
    Other,
}

impl StoreError {
    pub(crate) fn unavailable(kind: UnavailableKind, detail: impl Into<String>) -> Self {
        Self::Unavailable { kind, detail: Some(detail.into()) }
    }

    pub(crate) const fn closed() -> Self {
        Self::Unavailable { kind: UnavailableKind::Closed, detail: None }
    }

    /// Whether the same call may well succeed in a moment.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Unavailable { kind: UnavailableKind::Busy, .. })
    }

    /// Whether the engine failed rather than the operation, and may have rolled
    /// the transaction back.
    pub(crate) const fn ends_transaction(&self) -> bool {
        use UnavailableKind::{Busy, Closed, Corrupt, DiskFull, Io};
        matches!(self, Self::Unavailable { kind: Busy | Closed | Corrupt | DiskFull | Io, .. })
    }

    /// The same for each of several callers whose transaction failed.
    pub(crate) fn for_another(&self) -> Self {
        match self {
            Self::Unavailable { kind, detail } => Self::Unavailable { kind: *kind, detail: detail.clone() },
            other => Self::unavailable(UnavailableKind::Other, other.to_string()),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let kind = match &error {
            sqlx::Error::Database(database) => {
                // The low byte is the primary code (sqlite.org/rescode.html).
                let code = database.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or(0);
                match code & 0xff {
                    5 | 6 => UnavailableKind::Busy,
                    13 => UnavailableKind::DiskFull,
                    3 | 7 | 8 | 9 | 10 | 14 | 23 => UnavailableKind::Io,
                    11 | 26 => UnavailableKind::Corrupt,
                    _ => UnavailableKind::Other,
                }
            }
            sqlx::Error::Io(_) => UnavailableKind::Io,
            sqlx::Error::PoolTimedOut => UnavailableKind::Busy,
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => UnavailableKind::Closed,
            _ => UnavailableKind::Other,
        };
        Self::unavailable(kind, error.to_string())
    }
}
