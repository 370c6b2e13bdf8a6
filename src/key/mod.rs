//! Keys for verifying and signing, key sets, and key files.
//!
//! A key has one use, session tokens or the feed, and one algorithm. Neither is
//! negotiated.

#[cfg(feature = "issuer")]
mod dir;
pub(crate) mod exchange;
mod fixed;
mod live;
mod published;
mod set;
#[cfg(feature = "issuer")]
mod signing;
mod verifying;

pub use crate::id::KeyUse;
#[cfg(feature = "issuer")]
pub use dir::{Activation, KeyDir, KeyEntry, KeyState};
pub use live::LiveKeys;
pub use set::KeySet;
#[cfg(feature = "issuer")]
pub use signing::SigningKey;
pub use verifying::VerifyingKey;

pub use crate::wire::cose::Algorithm;
