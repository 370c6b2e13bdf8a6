//! The issuer: starts, renews and revokes sessions.

mod child;
mod in_process;
#[doc(hidden)]
pub mod ledger;
mod mint;
mod renewal;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod store;
mod ticket;

pub use in_process::Issuer;
pub use mint::{IssuedToken, Minter, NewSession};
pub use renewal::{RenewError, Renewal, SigningKeys, answer, request};
pub use ticket::TicketError;
