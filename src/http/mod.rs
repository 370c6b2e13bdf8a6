//! Sessions in HTTP: the tower layer and the axum extractor, cookies, CSRF, and
//! the answers to refused requests.

mod client_address;
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the login service does more with them"))]
pub(crate) mod cookie;
pub(crate) mod credential;
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the login service does more with them"))]
pub(crate) mod csrf;
mod extract;
#[cfg(any(feature = "server", fuzzing))]
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the edge does more with it"))]
pub(crate) mod forwarded;
#[cfg(any(feature = "server", feature = "proof"))]
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the login service does more with them"))]
pub(crate) mod host;
mod layer;
pub(crate) mod navigation;
mod origin;
pub mod problem;
#[cfg(feature = "proof")]
pub(crate) mod proof;
mod ticket;

pub use client_address::TrustedProxies;
pub use cookie::{SESSION_COOKIE, SessionCookie};
pub use credential::{Credential, CredentialError};
pub use extract::NoSession;
pub use layer::{Demand, DemandService, Refusal, ResponseFuture, SessionLayer, SessionMiddleware};
pub use origin::{Origin, OriginError};
#[cfg(feature = "proof")]
pub use proof::{RequestProofs, Scheme};
pub use ticket::{TicketFuture, TicketLayer, TicketService};

pub use crate::network::network_of;
