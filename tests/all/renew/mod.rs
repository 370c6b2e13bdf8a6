//! Renewal as an edge does it.

pub mod renew_client;
