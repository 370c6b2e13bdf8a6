//! The test keys of `keys/test/`, whose private halves are public.

use crate::id::KeyId;

/// Their kids: two session keys and a feed key.
pub(crate) const PUBLISHED_TEST_KEYS: [KeyId; 3] = [
    KeyId::from_bytes([0x3b, 0x26, 0x44, 0xf6, 0xc2, 0x77, 0x6f, 0x5a]),
    KeyId::from_bytes([0x05, 0xa1, 0x97, 0x9c, 0x3f, 0xe9, 0xcb, 0xca]),
    KeyId::from_bytes([0x6e, 0x38, 0xb8, 0x0e, 0xdd, 0x01, 0xdd, 0x28]),
];

impl KeyId {
    /// Returns whether this is one of the keys of `keys/test/`, which this
    /// project publishes for its test vectors. Anybody can sign with them.
    #[must_use]
    pub fn is_published_test_key(self) -> bool {
        PUBLISHED_TEST_KEYS.contains(&self)
    }
}
