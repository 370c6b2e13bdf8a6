//! All integration tests, in one binary: it links once.

#[cfg(feature = "server")]
mod browser;
#[cfg(feature = "issuer")]
mod compile_fail;
mod cose_peers;
mod differential;
#[cfg(feature = "issuer")]
mod key_dir;
mod keys;
mod layers;
mod lifetimes;
mod malformed;
#[cfg(feature = "issuer")]
mod minter;
mod nonce;
#[cfg(all(feature = "issuer", feature = "proof"))]
mod proofs;
#[cfg(feature = "issuer")]
mod published_keys;
mod raw;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "server")]
mod support;
mod test_keys;
#[cfg(feature = "issuer")]
mod tickets;
mod vectors;
mod walk;
mod wire;
