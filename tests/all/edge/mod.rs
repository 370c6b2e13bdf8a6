//! The running forward-auth service, alone and behind real proxies.

pub mod ended;
pub mod five_edges;
pub mod hop;
pub mod proxies;
pub mod requests;
