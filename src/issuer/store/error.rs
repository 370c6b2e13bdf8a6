//! The errors of a store.

use crate::time::UnixTime;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A user of this name exists.
    #[error("there is a user '{0}' already; 'hallpass user passwd' changes the password")]
    UserExists(String),
    /// There is no such user.
    #[error("there is no user '{0}'; 'hallpass user list' shows who there is")]
    NoUser(String),
    /// The user was disabled or the password changed during the log-in.
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
    /// The limit on live sessions is reached.
    #[error("there are as many sessions as there may be; end one, or wait until one has ended")]
    SessionsExceeded(super::CapScope),
    /// A session with this id exists.
    #[error("a session of this id exists; ids must be new random bytes")]
    SessionExists,
    /// The database can't be used; its kind says whether a retry may help.
    /// Nothing was changed, unless a commit was interrupted: then all or
    /// nothing of the call was done, and a retry is safe.
    #[error("{kind}{}", detail.as_ref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Unavailable {
        /// The kind of failure.
        kind: UnavailableKind,
        /// The engine's error.
        detail: Option<String>,
    },
}

/// Why a database can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnavailableKind {
    /// Another process holds a lock on it. A retry may succeed.
    #[error("the database is busy: another process has held it for too long; try again")]
    Busy,
    /// The disk is full.
    #[error("the disk is full; make room in the data directory")]
    DiskFull,
    /// The disk fails, or the directory is not writable.
    #[error("the database can't be read or written; look at the disk and at the data directory's owner")]
    Io,
    /// The file is damaged, or not a database.
    #[error("the database file is damaged or none; restore a backup")]
    Corrupt,
    /// A row that this version can't read.
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

    /// Returns whether a retry may succeed soon.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Unavailable { kind: UnavailableKind::Busy, .. })
    }

    /// Returns whether the engine failed and not the operation. It may have
    /// rolled the transaction back.
    pub(crate) const fn ends_transaction(&self) -> bool {
        use UnavailableKind::{Busy, Closed, Corrupt, DiskFull, Io};
        matches!(self, Self::Unavailable { kind: Busy | Closed | Corrupt | DiskFull | Io, .. })
    }

    /// Copies it for each caller of a failed shared transaction.
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
