//! All integration tests, in one binary: it links once.
#![allow(clippy::pedantic, reason = "tests say one thing after the other")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has failed, in its helpers too"
)]

#[cfg(feature = "server")]
mod anomaly;
#[cfg(feature = "server")]
mod cli;
#[cfg(feature = "server")]
mod clients;
#[cfg(feature = "server")]
mod edge;
#[cfg(feature = "server")]
mod http;
mod issuer;
mod key;
mod policy;
mod project;
#[cfg(all(feature = "issuer", feature = "proof"))]
mod proof;
#[cfg(feature = "server")]
mod renew;
mod replay;
#[cfg(feature = "server")]
mod revocation;
#[cfg(feature = "server")]
mod server;
mod support;
#[cfg(feature = "issuer")]
mod ticket;
mod wire;

/// `cargo test` alone builds what an edge needs to verify, and says so.
#[cfg(not(feature = "server"))]
#[test]
#[ignore = "left out without --all-features: minting, ledger, store, feed, login service, command line, browser"]
fn everything_else() {}
