//! Minting, the renewal rule, the store.

#[cfg(feature = "issuer")]
pub mod ledger;
#[cfg(feature = "server")]
pub mod limits;
#[cfg(feature = "issuer")]
pub mod minter;
#[cfg(feature = "issuer")]
pub mod renewal_model;
#[cfg(feature = "server")]
pub mod store;
