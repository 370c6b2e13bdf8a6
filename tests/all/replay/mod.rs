//! What may be used once.

pub mod nonce;
