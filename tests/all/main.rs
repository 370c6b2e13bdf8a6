//! All integration tests, in one binary: it links once.

#[cfg(feature = "server")]
mod browser;
mod keys;
#[cfg(feature = "issuer")]
mod published_keys;
mod raw;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "server")]
mod support;
mod test_keys;
mod vectors;
mod walk;
