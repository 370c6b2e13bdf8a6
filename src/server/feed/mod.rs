//! The signed feed: its keys, its publication, the issuer's own revocation
//! list, and the edges that report.

mod bases;
pub(crate) mod edges;
mod flight;
pub(crate) mod follower;
pub(crate) mod keyring;
pub(crate) mod publisher;
pub(crate) mod signed;
