//! All integration tests, in one binary: it links once.

#[cfg(feature = "issuer")]
mod ledger;
#[cfg(feature = "issuer")]
mod renewal_model;
#[cfg(feature = "server")]
mod store;
mod walk;
