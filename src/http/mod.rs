//! Sessions in HTTP: the tower layer and the axum extractor, cookies, CSRF,
//! and what a refused client is told.

mod client_address;
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the login service does more with them"))]
pub(crate) mod cookie;
mod credential;
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the login service does more with them"))]
pub(crate) mod csrf;
mod extract;
mod layer;
pub mod problem;

pub use client_address::TrustedProxies;
pub use cookie::SESSION_COOKIE;
pub use credential::{Credential, CredentialError};
pub use extract::NoSession;
pub use layer::{Demand, DemandService, Refusal, ResponseFuture, SessionLayer, SessionService};

pub use crate::network::network_of;
