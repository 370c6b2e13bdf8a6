//! Bytes ⇄ structures. Knows no keys, no clock and no policy.
//!
//! The way in is [`text`] → [`cbor`] → [`cose`] → [`claims`]; each refuses
//! with its own kind of [`Malformed`](crate::error::Malformed). What is written
//! here is what is accepted here: one encoding for each token, deterministic
//! CBOR (RFC 8949 §4.2.1) in base64url without padding.

pub(crate) mod app;
pub(crate) mod cbor;
pub(crate) mod claims;
pub(crate) mod cose;
pub(crate) mod diag;
pub(crate) mod text;
