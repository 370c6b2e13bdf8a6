//! The tower layer and the values it passes on.

pub mod ended;
pub mod session_layer;
pub mod verdicts;
