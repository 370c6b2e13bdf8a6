//! A session key in the feed.

#[cfg(feature = "issuer")]
use crate::key::KeyEntry;
use crate::key::VerifyingKey;
use crate::time::UnixTime;

/// A session key as the feed carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey {
    pub(super) key: VerifyingKey,
    pub(super) not_before: UnixTime,
}

impl SessionKey {
    /// `key` signs from `not_before` on and is unknown from
    /// [`retires`](VerifyingKey::retires) on.
    #[must_use]
    pub const fn new(key: VerifyingKey, not_before: UnixTime) -> Self {
        Self { key, not_before }
    }

    /// The key, which is unknown from its not-after on.
    #[must_use]
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }

    /// When it begins to sign. An edge knows it from the moment it hears of it,
    /// since its clock may be behind the issuer's.
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
