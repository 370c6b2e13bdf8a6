//! What several tests need.

#[cfg(feature = "server")]
pub mod leaks;
#[cfg(feature = "issuer")]
pub mod ledger;
#[cfg(feature = "server")]
pub mod producer;
pub mod raw;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
pub mod store;
pub mod test_keys;

#[cfg(feature = "server")]
pub(crate) use service::*;
