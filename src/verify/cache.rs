//! A cache of verified tokens, which need not be decoded and whose signature need
//! not be checked again.
//!
//! It records that a key signed these bytes, which stays true. Everything else is
//! checked on every hit: whether that key is still trusted ([`TokenCache::get`]),
//! and the whole policy (by the caller).
//!
//! Only admitted tokens enter, so a flood of forged tokens evicts nothing.

use core::fmt;
use core::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::DefaultHashBuilder;
use lru::LruCache;

use crate::id::KeyId;
use crate::key::{Algorithm, KeySet, VerifyingKey};
use crate::time::UnixTime;
use crate::verify::VerifiedToken;

/// A verified token with its text and key.
pub(crate) struct CachedToken {
    token: VerifiedToken,
    text: Box<[u8]>,
    /// The key's own bytes: a kid is only 8 bytes of a hash of them.
    key: [u8; 32],
    algorithm: Algorithm,
    /// Whether it was used since eviction last passed over it.
    used: AtomicBool,
}

impl CachedToken {
    pub(crate) fn new(text: &[u8], token: VerifiedToken, key: &VerifyingKey) -> Self {
        let used = AtomicBool::new(false);
        Self { token, text: text.into(), key: *key.as_bytes(), algorithm: key.algorithm(), used }
    }

    pub(crate) const fn token(&self) -> &VerifiedToken {
        &self.token
    }

    fn signed_by(&self, key: &VerifyingKey) -> bool {
        self.key == *key.as_bytes() && self.algorithm == key.algorithm()
    }

    /// The bytes it takes, with its share of the tables.
    fn bytes(&self) -> usize {
        // The two counts of the Arc; `lru`'s node (a key, a value, two links);
        // up to three table slots of two words and a byte, since a growing table
        // exists twice; and the allocator's rounding.
        const AROUND: usize = 16 + 32 + 3 * 17 + 3 * 16;
        size_of::<Self>() + self.text.len() + self.token.claims().heap_bytes() + AROUND
    }
}

/// The counts of a token cache since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenCacheCounts {
    /// Lookups that found a token whose key is still trusted.
    pub hits: u64,
    /// Lookups that did not, including those of forged tokens.
    pub misses: u64,
    /// Tokens in the cache.
    pub tokens: usize,
    /// Bytes that they take.
    pub bytes: usize,
}

/// Verified tokens in a bounded number of bytes. It evicts the oldest, but a used
/// token stays for another round (second chance, close to least recently used). So a
/// hit moves nothing: moving a token would touch two more places in memory.
pub(crate) struct TokenCache {
    /// A token's hash selects its shard, so two cores seldom contend.
    shards: Box<[Mutex<Shard>]>,
    /// Keyed at random. That is enough: cached tokens were signed, so nobody can
    /// choose tokens that share a shard or a slot.
    hasher: DefaultHashBuilder,
    /// Largest size of one shard, in bytes.
    shard_bytes: usize,
}

struct Shard {
    tokens: LruCache<u64, Arc<CachedToken>, BuildHasherDefault<Hashed>>,
    bytes: usize,
    hits: u64,
    misses: u64,
}

impl TokenCache {
    /// Smallest cache, in bytes.
    pub(crate) const LEAST: usize = 64 * 1024;
    /// Default size, in bytes: about 80,000 tokens.
    pub(crate) const DEFAULT: usize = 64 * 1024 * 1024;
    const MOST_SHARDS: usize = 64;
    /// How many used tokens one insert may pass over.
    const MOST_CHANCES: usize = 16;

    /// Makes a cache of at most `bytes` bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let shards = (bytes / Self::LEAST).clamp(1, Self::MOST_SHARDS);
        let shard = || Shard {
            tokens: LruCache::unbounded_with_hasher(BuildHasherDefault::default()),
            bytes: 0,
            hits: 0,
            misses: 0,
        };
        Self {
            shards: (0..shards).map(|_| Mutex::new(shard())).collect(),
            hasher: DefaultHashBuilder::default(),
            shard_bytes: bytes / shards,
        }
    }

    /// Returns the token of exactly this text, if it was verified with a key
    /// that is in `keys` and has not retired by `now`.
    pub(crate) fn get(&self, text: &[u8], keys: &KeySet, now: UnixTime) -> Option<Arc<CachedToken>> {
        let (hash, mut shard) = self.shard(text);
        let shard = &mut *shard;
        // Hashes can collide, so the whole text is compared.
        let found = shard.tokens.peek(&hash).filter(|entry| *entry.text == *text);
        if let Some(entry) = found {
            let key_id = entry.token.key_id();
            if keys.get(key_id, now).is_some_and(|key| entry.signed_by(key)) {
                shard.hits += 1;
                if !entry.used.load(Ordering::Relaxed) {
                    entry.used.store(true, Ordering::Relaxed);
                }
                return Some(Arc::clone(entry));
            }
            let key = entry.key;
            shard.retain(|entry| entry.key != key);
        }
        shard.misses += 1;
        None
    }

    /// Inserts a token that was just verified and admitted.
    pub(crate) fn insert(&self, entry: &Arc<CachedToken>) {
        let (hash, mut shard) = self.shard(&entry.text);
        shard.bytes += entry.bytes();
        if let Some(replaced) = shard.tokens.put(hash, Arc::clone(entry)) {
            shard.bytes -= replaced.bytes();
        }
        // Bounds the work of one insert.
        let mut chances = Self::MOST_CHANCES;
        while shard.bytes > self.shard_bytes
            && let Some((hash, oldest)) = shard.tokens.pop_lru()
        {
            if chances > 0 && oldest.used.swap(false, Ordering::Relaxed) {
                chances -= 1;
                shard.tokens.put(hash, oldest);
            } else {
                shard.bytes -= oldest.bytes();
            }
        }
    }

    /// Removes a token that will not be admitted again.
    pub(crate) fn remove(&self, entry: &CachedToken) {
        let (hash, mut shard) = self.shard(&entry.text);
        if let Some(removed) = shard.tokens.pop(&hash) {
            shard.bytes -= removed.bytes();
        }
    }

    /// Removes every token of a revoked key.
    pub(crate) fn remove_key(&self, key: KeyId) {
        for shard in &self.shards {
            lock(shard).retain(|entry| entry.token.key_id() != key);
        }
    }

    pub(crate) fn counts(&self) -> TokenCacheCounts {
        self.shards.iter().fold(TokenCacheCounts::default(), |sum, shard| {
            let shard = lock(shard);
            TokenCacheCounts {
                hits: sum.hits + shard.hits,
                misses: sum.misses + shard.misses,
                tokens: sum.tokens + shard.tokens.len(),
                bytes: sum.bytes + shard.bytes,
            }
        })
    }

    /// Returns the text's hash and its shard, locked.
    ///
    /// Only the end of a token is hashed, half of its signature. Verified tokens
    /// differ there, and no others are cached.
    fn shard(&self, text: &[u8]) -> (u64, MutexGuard<'_, Shard>) {
        const HASHED: usize = 40;
        let hash = self.hasher.hash_one(text.last_chunk::<HASHED>().map_or(text, |end| end));
        // The tables use the lowest bits and the highest seven.
        let shard = usize::from((hash >> 48) as u16) % self.shards.len();
        (hash, lock(&self.shards[shard]))
    }
}

impl Shard {
    fn retain(&mut self, keep: impl Fn(&CachedToken) -> bool) {
        let Self { tokens, bytes, .. } = self;
        tokens.retain(|_, entry| {
            let kept = keep(entry);
            if !kept {
                *bytes -= entry.bytes();
            }
            kept
        });
    }
}

impl fmt::Debug for TokenCache {
    /// No token is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenCache({:?})", self.counts())
    }
}

/// Ignores poisoning: nothing panics while the lock is held, except when memory
/// runs out.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tables' keys are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
