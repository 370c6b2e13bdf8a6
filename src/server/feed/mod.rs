//! The signed feed: the keys that sign it, what is published, the issuer's own
//! list, and the edges that report.

pub(crate) mod edges;
pub(crate) mod follower;
pub(crate) mod keyring;
pub(crate) mod publisher;
