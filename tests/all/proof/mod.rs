//! Proofs of possession (RFC 9449).

pub mod proofs;
