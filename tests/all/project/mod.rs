//! The project itself: its layers, its documents, its examples.

#[cfg(feature = "issuer")]
pub mod autotraits;
pub mod compile_fail;
#[cfg(feature = "server")]
pub mod docs;
#[cfg(feature = "server")]
pub mod examples;
#[cfg(feature = "issuer")]
pub mod fuzz_seeds;
#[cfg(feature = "issuer")]
pub mod incidents;
pub mod layers;
pub mod requirements;
pub mod walk;
