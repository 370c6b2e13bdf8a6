//! All integration tests, in one binary: it links once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has failed, in its helpers too"
)]

#[cfg(feature = "issuer")]
mod compile_fail;
mod cose_peers;
mod differential;
mod fuzz_seeds;
#[cfg(feature = "issuer")]
mod key_dir;
mod keys;
mod layers;
mod lifetimes;
mod malformed;
#[cfg(feature = "issuer")]
mod minter;
#[cfg(feature = "issuer")]
mod published_keys;
mod raw;
mod test_keys;
mod vectors;
mod walk;
mod wire;
