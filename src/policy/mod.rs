//! Policy: which verified tokens are admitted. Pure; `now` is an argument.

mod admit;
mod lifetimes;

pub(crate) use admit::Policy;
pub use lifetimes::{LifetimeSettings, Lifetimes};
