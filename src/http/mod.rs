//! Sessions in HTTP: the tower layer and the axum extractor, cookies, CSRF,
//! and what a refused client is told.

pub(crate) mod cookie;
mod credential;
pub(crate) mod csrf;
mod extract;
mod layer;
pub mod problem;

pub use cookie::SESSION_COOKIE;
pub use credential::{Credential, CredentialError};
pub use extract::NoSession;
pub use layer::{ResponseFuture, SessionLayer, SessionService};
