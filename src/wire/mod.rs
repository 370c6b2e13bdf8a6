//! Converts between bytes and structures. Knows no keys, no clock and no
//! policy.
//!
//! Decoding goes [`text`] → [`cbor`] → [`cose`] → [`claims`]; each refuses with
//! its own kind of [`Malformed`](crate::error::Malformed). This writes and
//! accepts one encoding for each token: deterministic CBOR (RFC 8949 §4.2.1) in
//! base64url without padding.

pub(crate) mod amr;
pub(crate) mod app;
pub(crate) mod cbor;
pub(crate) mod claims;
pub(crate) mod cose;
pub(crate) mod diag;
pub(crate) mod text;
