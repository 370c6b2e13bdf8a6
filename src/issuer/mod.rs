//! The login service's half: sessions started, tokens made.

mod mint;
mod ticket;

pub use mint::{IssuedToken, Minter, NewSession};
pub use ticket::TicketError;
