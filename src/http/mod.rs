//! Sessions in HTTP: the tower layer and the axum extractor, cookies, CSRF,
//! and what a refused client is told.

mod client_address;
pub(crate) mod cookie;
pub(crate) mod credential;
pub(crate) mod csrf;
mod extract;
mod layer;
pub mod problem;

pub use client_address::{TrustedProxies, network_of};
pub use cookie::SESSION_COOKIE;
pub use credential::{Credential, CredentialError};
pub use extract::NoSession;
pub use layer::{ResponseFuture, SessionLayer, SessionService};
