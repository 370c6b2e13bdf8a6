//! All integration tests, in one binary: it links once.

#[cfg(feature = "server")]
mod ended;
#[cfg(feature = "server")]
mod producer;
#[cfg(feature = "server")]
mod sync;
mod walk;
