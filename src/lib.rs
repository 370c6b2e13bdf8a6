//! Web sessions as compact signed CBOR tokens.
//!
//! The login service issues tokens (COSE_Sign1/CWT, Ed25519) that carry issue
//! time, max age and session id; every edge verifies them with a public key and
//! no storage. A signed feed of revocations gives log-out everywhere.
//!
//! Bytes become a token, a verified token, an admitted session. Each stage is a
//! type that only the stage before can make:
//!
//! - [`UnverifiedToken`] has the right form: base64url, deterministic CBOR, a
//!   COSE_Sign1. Nothing in it can be read.
//! - [`VerifiedToken`] was signed by a key of the [`KeySet`].
//! - [`Session`] was admitted: issuer, audience, time, revocation.
//!
//! [`Verifier`] does all three in one call. On the other side [`Issuer`] starts
//! and renews sessions in one process; `hallpass serve` does it on a store.
//!
#![cfg_attr(feature = "issuer", doc = "```")]
#![cfg_attr(not(feature = "issuer"), doc = "```ignore")]
//! use hallpass::{Algorithm, Clock, Issuer, KeyUse, Lifetimes, Session, SigningKey, Subject, SystemClock, Verifier};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The login service.
//! let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa)?;
//! let issuer = Issuer::new(key, Lifetimes::default())?;
//! let now = SystemClock.now();
//! let token = issuer.start(Subject::new("alice")?, ["admin"], now)?;
//!
//! // An edge, which has the public key and nothing else.
//! let verifier = Verifier::builder(issuer.key_set().clone()).without_revocations().build()?;
//! let session: Session<Vec<String>> = verifier.verify(token.as_str(), now)?;
//! assert_eq!(session.subject(), "alice");
//! assert_eq!(session.claims()?, ["admin"]);
//! # Ok(())
//! # }
//! ```
//!
//! `now` is an argument everywhere; only the outermost layer reads a clock.
//! `docs/` has the specification, the threat model and how to run it.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod anomaly;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod cli;
pub mod danger;
#[cfg(feature = "server")]
mod edge;
mod error;
pub mod event;
#[cfg(any(feature = "issuer", feature = "sync"))]
#[cfg_attr(not(feature = "issuer"), allow(dead_code, reason = "an edge keeps no secrets"))]
mod files;
#[cfg(feature = "axum")]
pub mod http;
mod id;
#[cfg(feature = "issuer")]
pub mod issuer;
pub mod key;
mod network;
#[cfg(feature = "sync")]
mod outbound;
mod policy;
#[cfg(feature = "proof")]
pub mod proof;
#[cfg(feature = "sync")]
pub mod renew;
pub mod replay;
pub mod revocation;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod service;
mod session;
mod ticket;
mod time;
mod verifier;
mod verify;
#[cfg_attr(not(feature = "issuer"), allow(dead_code, reason = "an edge reads; writing is the issuer's half"))]
mod wire;

#[cfg(feature = "axum")]
pub use crate::http::SessionLayer;
pub use error::{BoxError, ConfigError, Malformed, ProofError, Reason, Rejection, RevokedBy};
pub use id::{IdError, KeyId, SessionId, Subject, SubjectError, SubjectHash, TokenId};
#[cfg(feature = "issuer")]
pub use issuer::{IssuedToken, Issuer, Minter, NewSession, RenewError, Renewal, SigningKeys, TicketError};
pub use key::{Algorithm, KeySet, KeyUse, LiveKeys, VerifyingKey};
#[cfg(feature = "issuer")]
pub use key::{KeyDir, SigningKey};
pub use policy::{LifetimeSettings, Lifetimes, Profile, Profiles, StalePolicy};
#[cfg(feature = "proof")]
pub use proof::{ProofRequest, ProofVerifier};
#[cfg(feature = "sync")]
pub use renew::RenewClient;
pub use replay::NonceCache;
pub use revocation::RevocationList;
#[cfg(any(feature = "axum", feature = "sync"))]
pub use session::Ended;
pub use session::{ClaimsError, Session};
pub use ticket::TicketVerifier;
pub use time::{Clock, SystemClock, UnixTime};
pub use verifier::{Verifier, VerifierBuilder};
pub use verify::{TokenCacheCounts, UnverifiedToken, VerifiedToken};

/// Private functions for the fuzz targets. Only `cargo fuzz` sets `fuzzing`.
#[cfg(all(fuzzing, feature = "axum", feature = "sync"))]
#[doc(hidden)]
pub mod fuzzing {
    use crate::revocation::{FeedError, feed, sync};

    /// The length of the part of a feed that `bytes` begins with.
    pub fn next_part(bytes: &[u8]) -> Result<Option<usize>, FeedError> {
        feed::next_part(bytes)
    }

    /// The method, the host and the return target that a proxy's headers
    /// describe.
    pub fn forwarded(headers: &http::HeaderMap) -> Option<(String, Option<String>, String)> {
        crate::http::forwarded::forwarded(headers)
    }

    /// The data of all events before the stream's first error, and that error.
    pub fn events(chunks: &[&[u8]]) -> (Vec<String>, Option<sync::SyncError>) {
        sync::events(chunks)
    }
}

/// The README's Rust is compiled by `cargo test`.
#[cfg(all(doctest, feature = "axum", feature = "sync"))]
#[doc = include_str!("../README.md")]
struct Readme;
