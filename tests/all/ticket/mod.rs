//! Single-use tickets.

pub mod tickets;
