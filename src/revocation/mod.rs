//! Revocation: the list that an edge holds in memory.

mod list;

pub use list::{Entry, OutOfOrder, Position, RevocationList, RevokedBy, Snapshot, SubjectHash, Subscription};
