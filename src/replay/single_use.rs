//! What goes into the nonce cache, and what it tells of itself.

use crate::id::SessionId;
use crate::time::UnixTime;

/// Something that may be used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SingleUse {
    /// Whose it is, for the quota. The same thing must always come with the
    /// same session: what makes a nonce is the pair.
    pub session: SessionId,
    /// Its nonce.
    pub nonce: [u8; 16],
    /// When it was issued.
    pub issued: UnixTime,
    /// The first second at which it will be refused for its age, leeway
    /// included.
    pub until: UnixTime,
}

/// One purpose's entries and refusals, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NonceStats {
    /// Entries now; some may be over and not yet dropped.
    pub entries: usize,
    /// Most live entries.
    pub capacity: usize,
    /// Refused since they had been accepted before.
    pub replayed: u64,
    /// Refused since they were issued before the start, plus leeway.
    pub before_start: u64,
    /// Refused since they are over by the largest time seen: the clock has
    /// stepped back.
    pub clock_behind: u64,
    /// Refused since the cache was full of live entries.
    pub full: u64,
    /// Refused since the session had used up its quota.
    pub over_quota: u64,
}
