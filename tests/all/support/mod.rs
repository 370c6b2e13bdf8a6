//! Helpers shared by the tests.

#[cfg(feature = "server")]
pub mod browser;
#[cfg(feature = "server")]
pub mod dpop;
#[cfg(feature = "server")]
pub mod edge;
#[cfg(feature = "server")]
pub mod exchange;
#[cfg(feature = "server")]
pub mod leaks;
#[cfg(feature = "issuer")]
pub mod ledger;
#[cfg(feature = "server")]
pub mod producer;
#[cfg(all(feature = "issuer", feature = "proof"))]
pub mod proof_client;
pub mod raw;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
pub mod store;
pub mod test_keys;

#[cfg(feature = "server")]
pub(crate) use service::*;
