//! The revocation list, the feed and its client.

pub mod sync;
