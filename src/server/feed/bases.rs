//! The positions that a delta may start from, with the revocations since each.

use std::collections::VecDeque;

use crate::revocation::Entry;

/// Most bases, and so most deltas that lead to one position.
const MOST_BASES: usize = 32;
/// Most entries in memory. A delta of this size is one part and is signed in
/// milliseconds.
const MOST_ENTRIES: usize = 16_384;
/// How many snapshots keep a base while newer bases come: their readers ask for
/// a delta next.
const PINNED: usize = 2;

/// Holds only positions that were published. An edge that follows the feed is
/// at one of them; a made-up position is not.
#[derive(Debug, Default)]
pub(super) struct Bases {
    /// Each leads to the next.
    links: VecDeque<Link>,
    /// Positions of the last snapshots.
    pinned: VecDeque<u64>,
}

#[derive(Debug)]
struct Link {
    base: u64,
    /// Revocations from here to the next link's base, or from a little earlier.
    entries: Vec<Entry>,
}

impl Bases {
    /// Forgets all bases.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds the step from position `base` to `newest`, with its `entries`.
    pub(super) fn extend(&mut self, base: u64, newest: u64, entries: Vec<Entry>) {
        self.links.push_back(Link { base, entries });
        self.insert_pinned(newest);
        self.trim();
    }

    /// Makes `base`, a snapshot's position, a base. It may be past the newest
    /// position.
    pub(super) fn pin(&mut self, base: u64, newest: u64) {
        if !self.pinned.contains(&base) {
            if self.pinned.len() == PINNED {
                self.pinned.pop_front();
            }
            self.pinned.push_back(base);
        }
        self.insert_pinned(newest);
        self.trim();
    }

    /// Returns the entries that a list at `base` lacks. It may repeat some that
    /// the list has, which is harmless.
    pub(super) fn since(&self, base: u64) -> Option<Vec<Entry>> {
        let from = self.links.iter().position(|link| link.base == base)?;
        Some(self.links.iter().skip(from).flat_map(|link| link.entries.iter().copied()).collect())
    }

    /// Adds bases for snapshots' positions between two others. Such a base
    /// comes before the link that leads past it, so that it gets that link's
    /// entries too.
    fn insert_pinned(&mut self, newest: u64) {
        for &base in self.pinned.iter().filter(|base| **base < newest) {
            if self.links.iter().any(|link| link.base == base) {
                continue;
            }
            if let Some(past) = self.links.iter().rposition(|link| link.base < base) {
                self.links.insert(past, Link { base, entries: Vec::new() });
            }
        }
    }

    fn trim(&mut self) {
        while self.links.len() > MOST_BASES {
            let oldest = self.links.iter().position(|link| !self.pinned.contains(&link.base)).unwrap_or(0);
            let Some(link) = self.links.remove(oldest) else { return };
            // Older bases still lead past here.
            if let Some(older) = oldest.checked_sub(1) {
                self.links[older].entries.extend(link.entries);
            }
        }
        while self.links.iter().map(|link| link.entries.len()).sum::<usize>() > MOST_ENTRIES {
            self.links.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;
    use crate::time::UnixTime;

    fn entries(from: u64, to: u64) -> Vec<Entry> {
        let one = |n: u64| Entry::Session {
            sid: SessionId::from_bytes(u128::from(n).to_be_bytes()),
            ends: UnixTime::MAX,
        };
        (from + 1..=to).map(one).collect()
    }

    /// Returns whether the delta has everything after its base.
    fn leads_on(bases: &Bases, base: u64, newest: u64) -> bool {
        bases.since(base).is_some_and(|delta| entries(base, newest).iter().all(|one| delta.contains(one)))
    }

    #[test]
    fn the_last_positions_are_bases_and_made_up_ones_are_not() {
        let mut bases = Bases::default();
        for n in 0..100 {
            bases.extend(n * 2, n * 2 + 2, entries(n * 2, n * 2 + 2));
        }
        for back in 1..=MOST_BASES as u64 {
            assert_eq!(bases.since(200 - back * 2), Some(entries(200 - back * 2, 200)));
            assert_eq!(bases.since(201 - back * 2), None);
        }
        assert_eq!(bases.since(200 - MOST_BASES as u64 * 2 - 2), None);
    }

    #[test]
    fn who_has_a_snapshot_gets_a_delta_however_many_positions_came_since() {
        // Its position was published, was passed, or is ahead.
        for snapshot in [10, 7, 13, 20] {
            let mut bases = Bases::default();
            bases.extend(0, 5, entries(0, 5));
            bases.extend(5, 10, entries(5, 10));
            bases.pin(snapshot, 10);
            let mut newest = 10;
            for _ in 0..100 {
                bases.extend(newest, newest + 10, entries(newest, newest + 10));
                newest += 10;
                assert!(snapshot >= newest || leads_on(&bases, snapshot, newest), "{snapshot} {newest}");
                assert!(leads_on(&bases, newest - 10, newest));
                assert!(bases.links.len() <= MOST_BASES);
            }
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut bases = Bases::default();
        bases.extend(0, 10, entries(0, 10));
        bases.pin(5, 10);
        let many = 10 + MOST_ENTRIES as u64;
        bases.extend(10, many, entries(10, many));
        assert_eq!((bases.since(0), bases.since(5)), (None, None));
        assert!(bases.since(10).is_some());
        bases.extend(many, 3 * many, entries(many, 3 * many));
        assert_eq!(bases.since(many), None);
    }
}
