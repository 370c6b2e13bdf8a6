//! Policy: which verified tokens are admitted. Pure; `now` is an argument.

mod checks;
mod lifetimes;

pub use checks::StalePolicy;
#[cfg(feature = "issuer")]
pub(crate) use checks::is_for;
pub(crate) use checks::{Policy, Revocations};
pub use lifetimes::{LifetimeSettings, Lifetimes, Profile, Profiles};
