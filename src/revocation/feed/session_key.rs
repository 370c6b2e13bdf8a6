//! A session key in the feed.

#[cfg(feature = "issuer")]
use crate::key::KeyEntry;
use crate::key::VerifyingKey;
use crate::time::UnixTime;

/// A session key with its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey {
    pub(super) key: VerifyingKey,
    pub(super) not_before: UnixTime,
}

impl SessionKey {
    /// `key` signs from `not_before` and is rejected from
    /// [`retires`](VerifyingKey::retires).
    #[must_use]
    pub const fn new(key: VerifyingKey, not_before: UnixTime) -> Self {
        Self { key, not_before }
    }

    /// The key, which is rejected from its not-after.
    #[must_use]
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }

    /// When it begins to sign. Edges accept it at once, since their clocks may
    /// be behind the issuer's.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }
}

#[cfg(feature = "issuer")]
impl From<&KeyEntry> for SessionKey {
    fn from(entry: &KeyEntry) -> Self {
        Self::new(entry.key.verifying_key().clone().retiring(entry.retires), entry.activates)
    }
}
