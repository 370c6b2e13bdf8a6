//! What several tests need.

#[cfg(feature = "server")]
pub mod leaks;
#[cfg(feature = "server")]
pub mod producer;
pub mod raw;
#[cfg(feature = "server")]
pub mod service;
pub mod test_keys;

#[cfg(feature = "server")]
pub(crate) use service::*;
