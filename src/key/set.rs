//! The configured keys. A kid is a look-up in this set and nothing else: no
//! header can bring a key of its own.

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
    /// A handful, so that walking them is faster than hashing.
    keys: Box<[VerifyingKey]>,
}

impl KeySet {
    /// # Errors
    /// [`ConfigError::NoKeys`] if there is none, [`ConfigError::DuplicateKey`]
    /// if two have the same kid.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, ConfigError> {
        // Beyond a handful the tables would only sweep the caches.
        let ready = distinct(keys)?.into_iter().enumerate();
        let keys = ready.map(|(n, key)| if n < TABLES { key.prepared() } else { key });
        Ok(Self { keys: keys.collect() })
    }

    /// A set of keys that verify now and then: they get no tables.
    ///
    /// # Errors
    /// As [`KeySet::new`].
    pub(crate) fn unprepared(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, ConfigError> {
        Ok(Self { keys: distinct(keys)?.into() })
    }

    /// The set of an edge that has not been told any keys.
    pub(crate) fn none() -> Self {
        Self { keys: Box::default() }
    }

    /// The key of this id, unless it has retired by `now`.
    #[must_use]
    pub fn get(&self, id: KeyId, now: UnixTime) -> Option<&VerifyingKey> {
        self.keys
            .iter()
            .find(|key| key.id() == id)
            .filter(|key| key.retires().is_none_or(|retires| now < retires))
    }

    /// The keys, in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &VerifyingKey> {
        self.keys.iter()
    }
}

/// At least one key, no two of one id, in the order of their ids.
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
