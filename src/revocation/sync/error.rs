//! Why a feed did not reach the edge.

use std::time::Duration;

use crate::revocation::FeedError;

/// Why a feed did not arrive or was not applied. The edge's state is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The connection failed.
    #[error("the issuer can't be reached: {0}")]
    Unreachable(String),
    /// The issuer answered with an error.
    #[error("the issuer answered with status {0}")]
    Status(u16),
    /// The answer is neither a feed nor events.
    #[error("the issuer answered with {0:?}, which is no feed")]
    ContentType(String),
    /// No complete feed arrived in time.
    #[error("no feed came within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The feed is larger than this edge accepts.
    #[error("the feed has more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The event stream is invalid.
    #[error("not a stream of events that carry a feed: {0}")]
    Events(&'static str),
    /// The feed was refused.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The issuer's feed keys for trust on first use can't be used.
    #[error("the issuer's feed keys can't be used: {0}")]
    FeedKeys(String),
}
