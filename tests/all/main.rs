//! All integration tests, in one binary: it links once.

mod nonce;
#[cfg(feature = "issuer")]
mod tickets;
mod walk;
