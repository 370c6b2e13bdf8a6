//! An immutable map from 16 bytes to a small value, for many readers and one
//! writer that replaces small parts of it.
//!
//! A keyed hash of the key selects a shard. Adding a few entries to a large
//! table copies their shards and shares the others. A shard stores its keys
//! without gaps in the order of the hash, in buckets of about eight with a
//! Bloom filter each. Nearly every look-up is a miss, which reads one filter
//! and, 97 times in 100, no key. At a million entries the filters take 1 MB,
//! which fits a core's own cache; the keys take 16 MB. The list of shards
//! points directly to the filters, since each pointer is another cache line to
//! wait for.
//!
//! Each entry takes the key, the value and two bytes.

use std::hash::BuildHasher;
use std::sync::Arc;

use lru::DefaultHasher;

use crate::time::UnixTime;

pub(super) type Key = [u8; 16];

/// The value of a key.
pub(super) trait Value: Copy {
    /// The last second at which the entry is kept.
    fn kept_until(self) -> UnixTime;
    /// Joins the values of two entries with one key.
    #[must_use]
    fn join(self, other: Self) -> Self;
}

/// With a thousand shards, a million entries take 25 kB to copy for one shard,
/// and 8 kB for the list of shards.
const SHARD_BITS: u32 = 10;
const BUCKET: usize = 8;

#[derive(Clone)]
pub(super) struct Table<V> {
    /// Keyed at random, so nobody can choose a key's bucket. The keys are the
    /// issuer's random ids, so a fast hash is enough; std's would take a third
    /// of a look-up.
    hasher: DefaultHasher,
    /// Empty while the table is empty.
    shards: Arc<[Shard<V>]>,
    len: usize,
}

impl<V: Value> Table<V> {
    pub(super) fn new() -> Self {
        Self { hasher: DefaultHasher::default(), shards: Arc::default(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: &Key) -> Option<V> {
        if self.len == 0 {
            return None;
        }
        let hash = Hash::of(key, &self.hasher);
        self.shards.get(hash.shard())?.get(hash, key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, V)> {
        self.shards.iter().flat_map(|shard| shard.rows.keys.iter().zip(shard.rows.values.iter().copied()))
    }

    /// This table with `entries` added.
    pub(super) fn with(&self, entries: impl IntoIterator<Item = (Key, V)>) -> Self {
        let mut rows: Vec<_> =
            entries.into_iter().map(|(key, value)| Row::new(key, value, &self.hasher)).collect();
        if rows.is_empty() {
            return self.clone();
        }
        rows.sort_unstable_by_key(Row::order);

        let mut table = self.thaw();
        for added in rows.chunk_by(|a, b| a.hash.shard() == b.hash.shard()) {
            table.replace(added[0].hash.shard(), |old| {
                old.rows(&self.hasher).chain(added.iter().copied()).collect()
            });
        }
        table.freeze()
    }

    /// This table without the entries that have ended at `now`; `None` if there
    /// are none.
    pub(super) fn expired(&self, now: UnixTime) -> Option<Self> {
        let due = |shard: &Shard<V>| shard.rows.first_to_go.is_some_and(|first| first < now);
        if !self.shards.iter().any(due) {
            return None;
        }
        let mut table = self.thaw();
        for (index, _) in self.shards.iter().enumerate().filter(|(_, shard)| due(shard)) {
            table.replace(index, |old| {
                old.rows(&self.hasher).filter(|row| row.value.kept_until() >= now).collect()
            });
        }
        Some(table.freeze())
    }

    /// Bytes on the heap. Shared shards are counted in each table.
    pub(super) fn heap_bytes(&self) -> usize {
        let shards: usize = self.shards.iter().map(Shard::heap_bytes).sum();
        shards + size_of_val(&*self.shards)
    }

    #[cfg(test)]
    pub(super) fn longest_bucket(&self) -> usize {
        let starts = self.shards.iter().flat_map(|shard| shard.rows.starts.windows(2));
        starts.map(|bucket| bucket[1] - bucket[0]).max().unwrap_or(0)
    }

    fn thaw(&self) -> Thawed<V> {
        let shards = if self.shards.is_empty() {
            vec![Shard::build(&[]); 1 << SHARD_BITS]
        } else {
            self.shards.to_vec()
        };
        Thawed { hasher: self.hasher.clone(), shards, len: self.len }
    }
}

/// A table under construction.
struct Thawed<V> {
    hasher: DefaultHasher,
    shards: Vec<Shard<V>>,
    len: usize,
}

impl<V: Value> Thawed<V> {
    fn replace(&mut self, index: usize, rows: impl FnOnce(&Shard<V>) -> Vec<Row<V>>) {
        let shard = &mut self.shards[index];
        let mut rows = rows(shard);
        // The stable sort finds the sorted runs in `rows` and merges them.
        rows.sort_by_key(Row::order);
        rows.dedup_by(|next, kept| {
            let same = next.key == kept.key;
            if same {
                kept.value = kept.value.join(next.value);
            }
            same
        });
        self.len = self.len - shard.rows.keys.len() + rows.len();
        *shard = Shard::build(&rows);
    }

    fn freeze(self) -> Table<V> {
        let shards = if self.len == 0 { Arc::default() } else { self.shards.into() };
        Table { hasher: self.hasher, shards, len: self.len }
    }
}

/// Clones share both halves.
#[derive(Clone)]
struct Shard<V> {
    /// A Bloom filter of the keys of each bucket.
    filters: Arc<[u64]>,
    /// The part that is read only if the filter matches.
    rows: Arc<Rows<V>>,
}

struct Rows<V> {
    /// The start of each bucket's keys, and the end of the last.
    starts: Box<[usize]>,
    keys: Box<[Key]>,
    values: Box<[V]>,
    /// The earliest `kept_until`.
    first_to_go: Option<UnixTime>,
}

impl<V: Value> Shard<V> {
    /// `rows`: sorted, no key twice.
    fn build(rows: &[Row<V>]) -> Self {
        let count = rows.len().div_ceil(BUCKET);
        let mut filters = vec![0; count];
        let mut starts = Vec::with_capacity(count + 1);
        for (start, row) in rows.iter().enumerate() {
            let bucket = row.hash.bucket(count);
            filters[bucket] |= row.hash.filter_bits();
            if starts.len() <= bucket {
                starts.resize(bucket + 1, start);
            }
        }
        starts.resize(count + 1, rows.len());
        let rows = Rows {
            starts: starts.into(),
            keys: rows.iter().map(|row| row.key).collect(),
            values: rows.iter().map(|row| row.value).collect(),
            first_to_go: rows.iter().map(|row| row.value.kept_until()).min(),
        };
        Self { filters: filters.into(), rows: Arc::new(rows) }
    }

    fn get(&self, hash: Hash, key: &Key) -> Option<V> {
        let bucket = hash.bucket(self.filters.len());
        let bits = hash.filter_bits();
        if self.filters.get(bucket)? & bits != bits {
            return None;
        }
        let rows = &*self.rows;
        let (start, end) = (rows.starts[bucket], rows.starts[bucket + 1]);
        let found = rows.keys[start..end].iter().position(|candidate| candidate == key)?;
        Some(rows.values[start + found])
    }

    fn rows(&self, hasher: &DefaultHasher) -> impl Iterator<Item = Row<V>> {
        self.rows.keys.iter().zip(&self.rows.values).map(|(key, value)| Row::new(*key, *value, hasher))
    }

    fn heap_bytes(&self) -> usize {
        // The strong and weak counts of each `Arc` are two words.
        size_of::<Rows<V>>()
            + 4 * size_of::<usize>()
            + size_of_val(&*self.filters)
            + size_of_val(&*self.rows.starts)
            + size_of_val(&*self.rows.keys)
            + size_of_val(&*self.rows.values)
    }
}

/// An entry to insert.
#[derive(Clone, Copy)]
struct Row<V> {
    hash: Hash,
    key: Key,
    value: V,
}

impl<V: Value> Row<V> {
    fn new(key: Key, value: V, hasher: &DefaultHasher) -> Self {
        Self { hash: Hash::of(&key, hasher), key, value }
    }

    /// Sorted by shard, then by bucket, with equal keys together.
    fn order(&self) -> (Hash, Key) {
        (self.hash, self.key)
    }
}

/// The keyed hash of a key. From the top: 10 bits select the shard, 32 the
/// bucket; the last 18 are its bits in the filter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hash(u64);

impl Hash {
    fn of(key: &Key, hasher: &DefaultHasher) -> Self {
        Self(hasher.hash_one(u128::from_ne_bytes(*key)))
    }

    const fn shard(self) -> usize {
        (self.0 >> (u64::BITS - SHARD_BITS)) as usize
    }

    /// The index among `buckets`. It grows with the hash, so rows in the order
    /// of their hashes are in the order of their buckets.
    const fn bucket(self, buckets: usize) -> usize {
        let fraction = (self.0 << SHARD_BITS) >> 32;
        ((fraction as u128 * buckets as u128) >> 32) as usize
    }

    /// Its three bits in a filter of 64.
    const fn filter_bits(self) -> u64 {
        1 << (self.0 & 63) | 1 << (self.0 >> 6 & 63) | 1 << (self.0 >> 12 & 63)
    }
}
