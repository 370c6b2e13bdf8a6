//! All integration tests, in one binary: it links once.

mod nonce;
#[cfg(all(feature = "issuer", feature = "proof"))]
mod proofs;
#[cfg(feature = "issuer")]
mod tickets;
mod walk;
