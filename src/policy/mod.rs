//! Policy: which verified tokens are admitted. Pure; `now` is an argument.

mod admit;
mod lifetimes;

pub use admit::StalePolicy;
pub(crate) use admit::{Policy, Revocations, is_for};
pub use lifetimes::{LifetimeSettings, Lifetimes};
