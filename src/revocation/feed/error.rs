//! Why a feed is refused, and its limits.

use crate::error::Malformed;
use crate::id::KeyId;
use crate::revocation::OutOfOrder;
use crate::time::UnixTime;
use crate::wire::cose::Typ;

/// Largest part, in bytes.
pub const MAX_PART_BYTES: usize = 2 * 1024 * 1024;
/// Most session keys in one feed.
pub const MAX_SESSION_KEYS: usize = 256;

/// Why a feed or a part of one was refused. The edge's state is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// A part of more than [`MAX_PART_BYTES`].
    #[error("a part of the feed has more than {MAX_PART_BYTES} bytes")]
    TooLong,
    /// Not a part of a feed.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    /// Signed for another purpose, such as a session token.
    #[error("signed for another purpose than {}", Typ::Feed.name())]
    WrongType,
    /// Signed by a key that is not pinned, or that has retired.
    #[error("no pinned feed key has the id {key_id}")]
    UnknownKey {
        /// The kid that the part names.
        key_id: KeyId,
    },
    /// The pinned key did not sign this.
    #[error("feed key {key_id} did not sign this")]
    BadSignature {
        /// The kid that the part names.
        key_id: KeyId,
    },
    /// Signed too long ago.
    #[error("the feed's signature expired at {expires_at}, and it is {now}")]
    Expired {
        /// The feed's expiry.
        expires_at: UnixTime,
        /// The time compared with.
        now: UnixTime,
    },
    /// Signed in the future, by more than the leeway.
    #[error("the feed was signed at {issued_at}, and it is {now}")]
    NotYetValid {
        /// The time at which it claims to be signed.
        issued_at: UnixTime,
        /// The time compared with.
        now: UnixTime,
    },
    /// An entry of a kind that this version does not know and so can't apply.
    #[error("an entry of the unknown kind {kind}; this edge needs a newer version of hallpass")]
    UnknownEntry {
        /// Its kind.
        kind: u64,
    },
    /// An invalid session key: not a key, with another kid, or with an unknown
    /// algorithm.
    #[error("the feed's session key {key_id} can't be used")]
    BadSessionKey {
        /// Its kid.
        key_id: KeyId,
    },
    /// A session key twice.
    #[error("the feed has the session key {key_id} twice")]
    DuplicateSessionKey {
        /// Its kid.
        key_id: KeyId,
    },
    /// A session key that is also a feed key. No key may be both.
    #[error("the feed key {key_id} is among the session keys, and no key may do both")]
    SharedKey {
        /// The key.
        key_id: KeyId,
    },
    /// No session key that is valid now. An edge without keys would refuse
    /// everybody, so it keeps its present keys.
    #[error("the feed has no session key that is good now")]
    NoSessionKeys,
    /// More than [`MAX_SESSION_KEYS`].
    #[error("the feed has more than {MAX_SESSION_KEYS} session keys")]
    TooManySessionKeys,
    /// Parts of different feeds.
    #[error("parts that are not of one feed")]
    PartsDisagree,
    /// A part twice.
    #[error("part {part} of the feed twice")]
    DuplicatePart {
        /// The part's number.
        part: u64,
    },
    /// The feed ended before all its parts had arrived.
    #[error("{found} of {parts} parts of the feed")]
    MissingParts {
        /// The number of parts that arrived.
        found: u64,
        /// The number of parts of the feed.
        parts: u64,
    },
    /// Does not follow the list's position.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// Has the list's own position, but was signed before the last applied
    /// feed: a replay, or an issuer whose clock is behind another's.
    #[error("the feed was signed at {issued_at}, before the one that was applied last ({as_of})")]
    Older {
        /// When it was signed.
        issued_at: UnixTime,
        /// When the last applied feed was signed.
        as_of: UnixTime,
    },
}
