//! All integration tests, in one binary: it links once.

mod keys;
#[cfg(feature = "issuer")]
mod published_keys;
mod raw;
mod test_keys;
mod vectors;
mod walk;
