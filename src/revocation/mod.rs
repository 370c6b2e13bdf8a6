//! Revocation: the list that an edge holds in memory, and the signed feed that
//! fills it.

pub mod feed;
mod lifetimes;
mod list;
#[cfg(feature = "sync")]
pub mod sync;

pub use crate::error::RevokedBy;
pub use feed::{Feed, FeedError, FeedKeys};
pub use lifetimes::FeedLifetimes;
pub use list::{
    Entry, KEPT_PAST_END, OutOfOrder, Position, RevocationList, Snapshot, SubjectHash, Subscription,
};
