//! Web sessions as compact signed CBOR tokens.
//!
//! The login service issues tokens (COSE_Sign1/CWT, Ed25519); every edge
//! verifies them with a public key and no storage.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "server")]
#[doc(hidden)]
pub mod cli;
pub mod danger;
mod error;
#[cfg(any(feature = "issuer", feature = "sync"))]
#[cfg_attr(not(feature = "issuer"), allow(dead_code, reason = "an edge keeps no secrets"))]
mod files;
#[cfg(feature = "axum")]
pub mod http;
mod id;
#[cfg(feature = "issuer")]
pub mod issuer;
pub mod key;
mod policy;
pub mod revocation;
#[cfg(feature = "server")]
mod server;
mod session;
mod time;
mod verifier;
mod verify;
#[cfg_attr(not(feature = "issuer"), allow(dead_code, reason = "an edge reads; writing is the issuer's half"))]
mod wire;

#[cfg(feature = "axum")]
pub use crate::http::SessionLayer;
pub use error::{ConfigError, Malformed, Reason, Rejection};
pub use id::{KeyId, SessionId, Subject, SubjectHash, TokenId};
#[cfg(feature = "issuer")]
pub use issuer::{IssuedToken, Issuer, Minter, NewSession, RenewError, Renewal, SigningKeys};
pub use key::{Algorithm, KeySet, KeyUse, LiveKeys, VerifyingKey};
#[cfg(feature = "issuer")]
pub use key::{KeyDir, SigningKey};
pub use policy::{LifetimeSettings, Lifetimes, StalePolicy};
pub use revocation::RevocationList;
#[cfg(any(feature = "axum", feature = "sync"))]
pub use session::Ended;
pub use session::{ClaimsError, Session};
pub use time::{Clock, SystemClock, UnixTime};
pub use verifier::{Verifier, VerifierBuilder};
pub use verify::{TokenCacheCounts, UnverifiedToken, VerifiedToken};

/// The README's Rust is compiled by `cargo test`.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;
