//! All integration tests, in one binary: it links once.
#![allow(clippy::pedantic, reason = "tests say one thing after the other")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has failed, in its helpers too"
)]

#[cfg(feature = "server")]
mod anomalies;
#[cfg(feature = "server")]
mod browser;
#[cfg(feature = "server")]
mod cli;
#[cfg(feature = "issuer")]
mod compile_fail;
mod cose_peers;
#[cfg(feature = "server")]
mod crash;
mod differential;
#[cfg(feature = "server")]
mod docs;
#[cfg(feature = "server")]
mod dpop;
#[cfg(feature = "server")]
mod edge;
#[cfg(feature = "server")]
mod edge_hop;
#[cfg(feature = "server")]
mod ended;
#[cfg(feature = "server")]
mod examples;
#[cfg(feature = "server")]
mod five_edges;
#[cfg(feature = "server")]
mod floods;
mod fuzz_seeds;
#[cfg(feature = "server")]
mod hop;
#[cfg(feature = "issuer")]
mod incidents;
#[cfg(feature = "server")]
mod js_client;
#[cfg(feature = "issuer")]
mod key_dir;
mod keys;
mod layers;
#[cfg(feature = "server")]
mod leaks;
#[cfg(feature = "issuer")]
mod ledger;
mod lifetimes;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
mod logs;
mod malformed;
#[cfg(feature = "server")]
mod metrics;
#[cfg(feature = "issuer")]
mod minter;
mod nonce;
#[cfg(feature = "server")]
mod openapi;
#[cfg(feature = "server")]
mod ops;
#[cfg(feature = "otel")]
mod otel;
#[cfg(feature = "server")]
mod producer;
#[cfg(all(feature = "issuer", feature = "proof"))]
mod proofs;
#[cfg(feature = "server")]
mod proxies;
#[cfg(feature = "issuer")]
mod published_keys;
mod raw;
#[cfg(feature = "server")]
mod renew_client;
#[cfg(feature = "issuer")]
mod renewal_model;
mod requirements;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "server")]
mod session_layer;
#[cfg(feature = "server")]
mod sessions;
#[cfg(feature = "server")]
mod state_machine;
#[cfg(feature = "server")]
mod store;
#[cfg(feature = "server")]
mod support;
#[cfg(feature = "server")]
mod sync;
#[cfg(feature = "server")]
mod tabs;
mod test_keys;
#[cfg(feature = "server")]
mod ticket_routes;
#[cfg(feature = "issuer")]
mod tickets;
mod vectors;
#[cfg(feature = "server")]
mod verdicts;
mod walk;
mod wire;

/// `cargo test` alone builds what an edge needs to verify, and says so.
#[cfg(not(feature = "server"))]
#[test]
#[ignore = "left out without --all-features: minting, ledger, store, feed, login service, command line, browser"]
fn everything_else() {}
