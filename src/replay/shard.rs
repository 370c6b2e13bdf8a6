//! One lock's part of the entries.
//!
//! A hash table points into a vector of entries: 24 bytes each, and 6 to 12 in
//! the table. A map of maps would take twice that. Entries that expire in the
//! same second form a list. There are only as many lists as a ticket or proof
//! lives seconds, so the ordered map of lists is small, and dropping an entry
//! costs the same in a full cache as in an empty one.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::replay::SingleUse;

/// An index into a vector, or [`NOWHERE`].
type Index = u32;
const NOWHERE: Index = Index::MAX;

/// The cache is full.
pub(super) struct Full;

pub(super) enum Insertion {
    Inserted,
    /// The entry exists already.
    There,
    /// The session's quota is used up.
    OverQuota,
    Full,
}

#[derive(Default)]
pub(super) struct Shard {
    entries: Slots<Entry>,
    by_nonce: HashTable<Index>,
    holders: Slots<Holder>,
    by_session: HashTable<Index>,
    /// The first entry of each expiry second.
    over_at: BTreeMap<u64, Index>,
    /// No entry expires before this second.
    first_over: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    nonce: [u8; 16],
    holder: Index,
    /// The next entry that expires in the same second, or the next free slot.
    next: Index,
}

#[derive(Clone, Copy)]
struct Holder {
    session: [u8; 16],
    /// The number of its entries; in a free slot, the next free slot.
    live: u32,
}

impl Shard {
    /// Inserts `used` if it is new, its session has fewer than `quota` entries,
    /// and `reserve` finds room.
    pub(super) fn insert(
        &mut self,
        used: &SingleUse,
        session_hash: u64,
        quota: u32,
        hasher: &DefaultHashBuilder,
        reserve: impl FnOnce() -> Result<(), Full>,
    ) -> Insertion {
        let session = used.session.as_bytes();
        let (entries, holders) = (&self.entries.all, &self.holders.all);
        let holder =
            self.by_session.find(session_hash, |&at| holders[at as usize].session == *session).copied();
        let nonce_hash = hasher.hash_one(used.nonce);
        if let Some(holder) = holder {
            let same = |&at: &Index| {
                let entry = &entries[at as usize];
                entry.nonce == used.nonce && entry.holder == holder
            };
            if self.by_nonce.find(nonce_hash, same).is_some() {
                return Insertion::There;
            }
            if holders[holder as usize].live >= quota {
                return Insertion::OverQuota;
            }
        }
        if reserve().is_err() {
            return Insertion::Full;
        }

        let holder = holder.unwrap_or_else(|| {
            let place = self.holders.put(Holder { session: *session, live: 0 });
            let holders = &self.holders.all;
            let rehash = |&at: &Index| hasher.hash_one(holders[at as usize].session);
            self.by_session.insert_unique(session_hash, place, rehash);
            place
        });
        self.holders.all[holder as usize].live += 1;
        let until = used.until.as_secs();
        let first = self.over_at.entry(until).or_insert(NOWHERE);
        let place = self.entries.put(Entry { nonce: used.nonce, holder, next: *first });
        *first = place;
        self.first_over = self.first_over.min(until);
        let entries = &self.entries.all;
        let rehash = |&at: &Index| hasher.hash_one(entries[at as usize].nonce);
        self.by_nonce.insert_unique(nonce_hash, place, rehash);
        Insertion::Inserted
    }

    /// Drops the entries that expired by `latest`. Returns their number.
    pub(super) fn drop_over(&mut self, latest: u64, hasher: &DefaultHashBuilder) -> usize {
        if latest < self.first_over {
            return 0;
        }
        let mut dropped = 0;
        while let Some(first) = self.over_at.first_entry().filter(|first| *first.key() <= latest) {
            let mut place = first.remove();
            while place != NOWHERE {
                let Entry { nonce, holder, next } = self.entries.all[place as usize];
                if let Ok(found) = self.by_nonce.find_entry(hasher.hash_one(nonce), |&at| at == place) {
                    found.remove();
                }
                self.entries.free(place);
                self.release(holder, hasher);
                dropped += 1;
                place = next;
            }
        }
        self.first_over = self.over_at.first_key_value().map_or(u64::MAX, |(until, _)| *until);
        dropped
    }

    /// Counts one entry less for this holder, and removes a holder without
    /// entries.
    fn release(&mut self, place: Index, hasher: &DefaultHashBuilder) {
        let holder = &mut self.holders.all[place as usize];
        holder.live -= 1;
        if holder.live == 0 {
            let hash = hasher.hash_one(holder.session);
            if let Ok(found) = self.by_session.find_entry(hash, |&at| at == place) {
                found.remove();
            }
            self.holders.free(place);
        }
    }
}

/// A vector whose free slots form a list.
struct Slots<T> {
    all: Vec<T>,
    first_free: Index,
}

/// The field that holds the next free slot while its own slot is free.
trait Slot {
    fn link(&mut self) -> &mut Index;
}

impl Slot for Entry {
    fn link(&mut self) -> &mut Index {
        &mut self.next
    }
}

impl Slot for Holder {
    fn link(&mut self) -> &mut Index {
        &mut self.live
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { all: Vec::new(), first_free: NOWHERE }
    }
}

impl<T: Slot> Slots<T> {
    fn put(&mut self, value: T) -> Index {
        if self.first_free != NOWHERE {
            let place = self.first_free;
            let slot = &mut self.all[place as usize];
            self.first_free = *slot.link();
            *slot = value;
            return place;
        }
        if self.all.len() == self.all.capacity() {
            // Grows by an eighth, not by doubling, to keep the stated memory.
            self.all.reserve_exact(self.all.len() / 8 + 16);
        }
        self.all.push(value);
        // Capacities are at most 2^24.
        Index::try_from(self.all.len() - 1).unwrap_or(NOWHERE)
    }

    fn free(&mut self, place: Index) {
        *self.all[place as usize].link() = self.first_free;
        self.first_free = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;
    use crate::time::UnixTime;

    /// Rounds of entries that expire before the next round: none stays, and
    /// their slots are reused.
    #[test]
    fn what_is_over_leaves_nothing_behind() {
        let hasher = DefaultHashBuilder::default();
        let mut shard = Shard::default();
        for round in 0..50_u64 {
            for n in 0..200_u64 {
                let session = SessionId::from_bytes(u128::from(round * 1000 + n / 4).to_be_bytes());
                let used = SingleUse {
                    session,
                    nonce: u128::from(round << 32 | n).to_be_bytes(),
                    issued: UnixTime::saturating_from_secs(round * 10),
                    until: UnixTime::saturating_from_secs(round * 10 + 1 + n % 7),
                };
                let hash = hasher.hash_one(session.as_bytes());
                assert!(matches!(shard.insert(&used, hash, 4, &hasher, || Ok(())), Insertion::Inserted));
            }
            assert_eq!((shard.by_nonce.len(), shard.by_session.len()), (200, 50));
            assert_eq!((shard.entries.all.len(), shard.holders.all.len()), (200, 50), "round {round}");
            assert!(shard.entries.all.capacity() <= 200 + 200 / 8 + 16, "grows by an eighth");
            assert_eq!(shard.drop_over(round * 10 + 7, &hasher), 200);
            assert_eq!((shard.by_nonce.len(), shard.by_session.len(), shard.over_at.len()), (0, 0, 0));
        }
    }
}
