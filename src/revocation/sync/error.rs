//! Why a feed did not reach the edge.

use std::time::Duration;

use crate::revocation::FeedError;

/// Why a feed did not get here, or was not applied. The edge is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// No connection, or it broke.
    #[error("the issuer can't be reached: {0}")]
    Unreachable(String),
    /// The answer is an error.
    #[error("the issuer answered with status {0}")]
    Status(u16),
    /// The answer is neither a feed nor events.
    #[error("the issuer answered with {0:?}, which is no feed")]
    ContentType(String),
    /// No whole feed came in time.
    #[error("no feed came within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The feed is larger than this edge takes.
    #[error("the feed has more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The stream of events is none.
    #[error("not a stream of events that carry a feed: {0}")]
    Events(&'static str),
    /// A feed that is not applied.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The issuer's feed keys, to be trusted on first use, can't be used.
    #[error("the issuer's feed keys can't be used: {0}")]
    FeedKeys(String),
}
