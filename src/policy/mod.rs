//! Policy: which verified tokens are admitted. Pure; `now` is an argument.

mod admit;
mod lifetimes;

pub use admit::StalePolicy;
#[cfg(feature = "issuer")]
pub(crate) use admit::is_for;
pub(crate) use admit::{Policy, Revocations};
pub use lifetimes::{LifetimeSettings, Lifetimes};
