//! Single-use values.

pub mod nonce;
