//! The configured keys. A kid only selects from this set: no header can supply a
//! key.

use core::fmt;

use crate::error::ConfigError;
use crate::id::KeyId;
use crate::key::VerifyingKey;
use crate::key::fixed::TABLES;
use crate::time::UnixTime;

/// The public keys that an edge trusts, at least one and no two of one kid.
///
/// It is immutable; a rotation makes a new one.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySet {
    /// Few keys, so a scan is faster than hashing.
    keys: Box<[VerifyingKey]>,
}

impl KeySet {
    /// # Errors
    /// [`ConfigError::NoKeys`] if there is none, [`ConfigError::DuplicateKey`]
    /// if two have the same kid.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, ConfigError> {
        // With many keys the tables would only evict the CPU's caches.
        let ready = distinct(keys)?.into_iter().enumerate();
        let keys = ready.map(|(n, key)| if n < TABLES { key.prepared() } else { key });
        Ok(Self { keys: keys.collect() })
    }

    /// Makes a set of rarely used keys, without precomputed tables.
    ///
    /// # Errors
    /// As [`KeySet::new`].
    pub(crate) fn unprepared(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, ConfigError> {
        Ok(Self { keys: distinct(keys)?.into() })
    }

    /// The empty set of an edge that has no keys yet.
    pub(crate) fn none() -> Self {
        Self { keys: Box::default() }
    }

    /// Returns the key with this id, unless it has retired by `now`.
    #[must_use]
    pub fn get(&self, id: KeyId, now: UnixTime) -> Option<&VerifyingKey> {
        self.keys
            .iter()
            .find(|key| key.id() == id)
            .filter(|key| key.retires().is_none_or(|retires| now < retires))
    }

    /// Iterates over the keys, ordered by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &VerifyingKey> {
        self.keys.iter()
    }
}

/// Sorts keys by id. Requires at least one, and no two with one id.
fn distinct(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Vec<VerifyingKey>, ConfigError> {
    let mut keys: Vec<_> = keys.into_iter().collect();
    if keys.is_empty() {
        return Err(ConfigError::NoKeys);
    }
    keys.sort_by_key(VerifyingKey::id);
    match keys.windows(2).find(|pair| pair[0].id() == pair[1].id()) {
        Some(pair) => Err(ConfigError::DuplicateKey(pair[0].id())),
        None => Ok(keys),
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter()).finish()
    }
}
