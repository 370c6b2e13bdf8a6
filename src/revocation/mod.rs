//! Revocation: the list that an edge holds in memory, and the signed feed that
//! fills it.

pub mod feed;
mod list;
#[cfg(feature = "sync")]
pub mod sync;

pub use feed::{Feed, FeedError, FeedKeys};
pub use list::{
    Entry, KEPT_PAST_END, OutOfOrder, Position, RevocationList, RevokedBy, Snapshot, SubjectHash,
    Subscription,
};
