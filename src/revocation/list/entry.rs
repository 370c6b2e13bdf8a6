//! One revocation entry.

use std::time::Duration;

pub use crate::id::SubjectHash;
use crate::id::{KeyId, SessionId};
use crate::time::UnixTime;

/// How long an entry is kept after the end of its sessions: the largest leeway, for
/// which an edge may still accept an ended session.
pub const KEPT_PAST_END: Duration = Duration::from_mins(1);

/// The last second at which an entry that says `ends` is kept.
pub(in crate::revocation) const fn kept_until(ends: UnixTime) -> UnixTime {
    ends.saturating_add(KEPT_PAST_END)
}

/// One revocation.
///
/// `ends` is when all sessions that it revokes have ended anyway. It is kept for 60 s
/// more, since an edge's leeway may accept them that long. `up_to` is compared with
/// the start of the session, which every renewal copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Entry {
    /// One session, however often it is renewed.
    Session {
        /// The session.
        sid: SessionId,
        /// When it ends.
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
    /// Every token of a key.
    Key {
        /// The key.
        kid: KeyId,
        /// When the last session with its tokens ends.
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
    /// Returns when the sessions that it revokes have ended.
    #[must_use]
    pub const fn ends(&self) -> UnixTime {
        match self {
            Self::Session { ends, .. }
            | Self::Subject { ends, .. }
            | Self::Key { ends, .. }
            | Self::All { ends, .. } => *ends,
        }
    }

    /// Returns whether no edge can accept anything that it revokes any more.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        now > kept_until(self.ends())
    }
}
