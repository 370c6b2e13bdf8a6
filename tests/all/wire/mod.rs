//! The wire format: bytes and structures.

pub mod cose_peers;
pub mod differential;
pub mod malformed;
pub mod tokens;
pub mod vectors;
