//! What a revocation says.

use std::time::Duration;

pub use crate::id::SubjectHash;
use crate::id::{KeyId, SessionId};
use crate::time::UnixTime;

/// How long an entry is kept after the end of what it revokes: as long as the
/// largest leeway, by which an edge may take an ended session for a live one.
pub const KEPT_PAST_END: Duration = Duration::from_mins(1);

/// The last second at which an entry that says `ends` is kept.
pub(in crate::revocation) const fn kept_until(ends: UnixTime) -> UnixTime {
    ends.saturating_add(KEPT_PAST_END)
}

/// One revocation.
///
/// `ends` is when everything that it revokes will have ended of itself. It is
/// kept for 60 s more, since an edge with a leeway takes a session for live
/// that long. `up_to` is compared with the start of the session, which every
/// renewal copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Entry {
    /// One session, however often it is renewed.
    Session {
        /// The session.
        sid: SessionId,
        /// When it will have ended.
        ends: UnixTime,
    },
    /// A subject's sessions that started up to a time.
    Subject {
        /// The subject.
        hash: SubjectHash,
        /// The last start that is revoked.
        up_to: UnixTime,
        /// When the last of the sessions will have ended.
        ends: UnixTime,
    },
    /// All that a key signed.
    Key {
        /// The key.
        kid: KeyId,
        /// When the last session that it signed for will have ended.
        ends: UnixTime,
    },
    /// Everybody's sessions that started up to a time.
    All {
        /// The last start that is revoked.
        up_to: UnixTime,
        /// When the last of the sessions will have ended.
        ends: UnixTime,
    },
}

impl Entry {
    /// When what it revokes will have ended.
    #[must_use]
    pub const fn ends(&self) -> UnixTime {
        match self {
            Self::Session { ends, .. }
            | Self::Subject { ends, .. }
            | Self::Key { ends, .. }
            | Self::All { ends, .. } => *ends,
        }
    }

    /// Whether nothing that it revokes can be accepted any more, anywhere.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        now > kept_until(self.ends())
    }
}
