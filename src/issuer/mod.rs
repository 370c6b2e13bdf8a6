//! The login service's half: sessions started, tokens made.

mod mint;

pub use mint::{IssuedToken, Minter, NewSession};
