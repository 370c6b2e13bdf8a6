//! The input of the nonce cache, and its counts.

use crate::id::SessionId;
use crate::time::UnixTime;

/// Something that may be used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SingleUse {
    /// Its session, for the quota. A nonce is identified by the pair, so the
    /// same nonce must always come with the same session.
    pub session: SessionId,
    /// Its nonce.
    pub nonce: [u8; 16],
    /// When it was issued.
    pub issued: UnixTime,
    /// The first second at which it is too old, leeway included.
    pub until: UnixTime,
}

/// One purpose's entries and refusals, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NonceStats {
    /// Entries now, including expired ones that are not dropped yet.
    pub entries: usize,
    /// Most live entries.
    pub capacity: usize,
    /// Refused because they were accepted before.
    pub replayed: u64,
    /// Refused because they were issued before the start, plus leeway.
    pub before_start: u64,
    /// Refused because they are too old by the largest time seen: the clock has
    /// stepped back.
    pub clock_behind: u64,
    /// Refused because the cache was full of live entries.
    pub full: u64,
    /// Refused because the session's quota was used up.
    pub over_quota: u64,
}
