//! What was revoked, as entries.

use std::time::Duration;

use crate::id::{KeyId, SessionId, SubjectHash};
use crate::time::UnixTime;

/// How long an entry is kept after what it revokes has ended: the most leeway
/// that any edge can have.
pub const KEPT_AFTER_END: Duration = Duration::from_mins(1);

/// One revocation. `ends` says when all it revokes will have ended; it is kept
/// for [`KEPT_AFTER_END`] longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevocationEntry {
    /// One session.
    Session {
        /// The session.
        id: SessionId,
        /// When it ends.
        ends: UnixTime,
    },
    /// The sessions of a subject started up to some moment.
    Subject {
        /// The subject.
        hash: SubjectHash,
        /// The last start that is revoked.
        started_until: UnixTime,
        /// When the last of them ends.
        ends: UnixTime,
    },
    /// Everything that a key signed.
    Key {
        /// The key.
        id: KeyId,
        /// When the last of it ends.
        ends: UnixTime,
    },
    /// All sessions started up to some moment.
    All {
        /// The last start that is revoked.
        started_until: UnixTime,
        /// When the last of them ends.
        ends: UnixTime,
    },
}

impl RevocationEntry {
    /// When all it revokes will have ended.
    #[must_use]
    pub const fn ends(&self) -> UnixTime {
        match self {
            Self::Session { ends, .. }
            | Self::Subject { ends, .. }
            | Self::Key { ends, .. }
            | Self::All { ends, .. } => *ends,
        }
    }

    /// `session`, `subject`, `key` or `all`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Session { .. } => "session",
            Self::Subject { .. } => "subject",
            Self::Key { .. } => "key",
            Self::All { .. } => "all",
        }
    }

    /// Whether nothing that it revokes can be accepted any more.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        now > self.ends().saturating_add(KEPT_AFTER_END)
    }
}
