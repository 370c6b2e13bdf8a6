//! The signed feed: the keys that sign it, what is published, the issuer's own
//! list, and the edges that report.

mod bases;
pub(crate) mod edges;
mod flight;
pub(crate) mod follower;
pub(crate) mod keyring;
pub(crate) mod publisher;
pub(crate) mod signed;
