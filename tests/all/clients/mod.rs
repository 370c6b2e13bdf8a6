//! Clients in other languages.

pub mod js;
