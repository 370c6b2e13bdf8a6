//! The tower layer and what it hands on.

pub mod ended;
pub mod session_layer;
pub mod verdicts;
