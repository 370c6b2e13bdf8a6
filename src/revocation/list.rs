//! The in-memory revocation list of an edge: the sessions that are refused although
//! their tokens verify.
//!
//! One writer (the feed's client, or the issuer in its own process), many readers. A
//! reader checks once per request, never waits and never frees memory. The writer
//! builds the next list and swaps it in, so a reader sees all of a feed or nothing.

mod entry;
mod table;
#[cfg(test)]
mod tests;

use crate::error::RevokedBy;
use core::fmt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::{ArcSwap, Guard};

use super::lifetimes::FeedLifetimes;
use crate::id::{KeyId, SessionId};
use crate::time::UnixTime;

#[cfg_attr(
    not(feature = "issuer"),
    allow(unused_imports, reason = "the feed's signer leaves out the rest")
)]
pub(super) use self::entry::kept_until;
pub use self::entry::{Entry, KEPT_PAST_END, SubjectHash};
use self::table::{Table, Value};

/// A position in the feed. A later position is greater; the default is before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The store's epoch: restoring a backup begins a new one. It is a Unix time, so
    /// restoring the same backup twice begins two.
    pub epoch: u64,
    /// The sequence number of the revocation in that epoch, without gaps.
    pub sequence: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

/// A feed that does not follow the list's position. The list is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutOfOrder {
    /// The feed is older than the last one: a replay, or a slow cache.
    #[error("the feed is at {offered}, and the list is already at {current}")]
    Backwards {
        /// The list's position.
        current: Position,
        /// The feed's position.
        offered: Position,
    },
    /// The delta does not start at the list's position: a snapshot is needed.
    #[error("the delta starts at {base}, and the list is elsewhere; fetch a snapshot")]
    Gap {
        /// The list's position; `None` if no feed was ever applied.
        current: Option<Position>,
        /// Where the delta starts.
        base: Position,
    },
}

/// The revocations known to this process.
///
/// Clones share one list. A new one is empty, and its [`as_of`](Self::as_of) is
/// `None`: the policy decides whether that means "refuse all".
#[derive(Clone)]
pub struct RevocationList(Arc<Lists>);

struct Lists {
    current: ArcSwap<State>,
    /// Held by the writer. It holds the lists that were replaced while a reader
    /// used them.
    writer: Mutex<Vec<Arc<State>>>,
    subscribers: Mutex<Vec<Weak<Callback>>>,
}

type Callback = dyn Fn() + Send + Sync;

impl Default for RevocationList {
    fn default() -> Self {
        Self::new()
    }
}

impl RevocationList {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Lists {
            current: ArcSwap::from_pointee(State::new()),
            writer: Mutex::default(),
            subscribers: Mutex::default(),
        }))
    }

    /// Returns the kind of entry that revokes a session (the widest, if several do);
    /// `None` if it is not revoked. `key` is the key that signed its token, `started`
    /// the start of the session, not of the token.
    ///
    /// Wait-free. Hashes `sid` once, and `subject` only if a subject's
    /// sessions that started at `started` or later are revoked.
    #[must_use]
    pub fn check(&self, sid: &SessionId, subject: &str, key: KeyId, started: UnixTime) -> Option<RevokedBy> {
        self.0.current.load().check(sid, subject, key, started)
    }

    /// Returns the current list, for the checks of one request. Do not keep it: each
    /// thread has few cheap slots for it.
    pub(crate) fn current(&self) -> Current {
        Current(self.0.current.load())
    }

    /// Returns when the list was last known to be complete: the signed issue time of
    /// the last feed. `None` if no feed was applied.
    ///
    /// Call it before [`check`](Self::check), which then sees this list or a later
    /// one.
    #[must_use]
    pub fn as_of(&self) -> Option<UnixTime> {
        self.0.current.load().as_of
    }

    /// Returns its position in the feed; `None` if no feed was applied.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.0.current.load().position
    }

    /// Returns the number of entries. Entries for the same session, subject or key
    /// count once.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.current.load().len()
    }

    /// Returns whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a snapshot of the list, which later feeds do not change. It keeps its
    /// memory until it is dropped.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.0.current.load_full())
    }

    /// Replaces all entries, including [inserted](Self::insert) ones.
    /// `as_of` is the feed's signed time of issue.
    ///
    /// A snapshot of the list's own position only renews `as_of`, which never goes
    /// back within an epoch.
    ///
    /// # Errors
    /// [`OutOfOrder::Backwards`] if the list is after `position`.
    pub fn apply_snapshot(
        &self,
        position: Position,
        as_of: UnixTime,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<(), OutOfOrder> {
        self.write(|state| {
            state.not_past(position)?;
            let mut next =
                if state.position == Some(position) { state.clone() } else { state.emptied().with(entries) };
            next.follow(state, position, as_of);
            Ok(Some(next))
        })
    }

    /// Adds the revocations between sequence `base` and `position` of one epoch. An
    /// empty delta renews `as_of`.
    ///
    /// # Errors
    /// [`OutOfOrder::Backwards`] if the list is past `position`,
    /// [`OutOfOrder::Gap`] if it is not at `base`.
    pub fn apply_delta(
        &self,
        base: u64,
        position: Position,
        as_of: UnixTime,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<(), OutOfOrder> {
        self.write(|state| {
            state.not_past(position)?;
            let base = Position { epoch: position.epoch, sequence: base };
            if state.position != Some(base) {
                return Err(OutOfOrder::Gap { current: state.position, base });
            }
            let mut next = state.with(entries);
            next.follow(state, position, as_of);
            Ok(Some(next))
        })
    }

    /// Adds one entry without a feed, for an issuer that is its own edge. The next
    /// snapshot of a feed would drop it.
    pub fn insert(&self, entry: Entry) {
        // Can't fail: only feeds have an order.
        let _ = self.write(|state| Ok(Some(state.with([entry]))));
    }

    /// Drops entries whose `ends` is more than 60 s before `now`. Call it off the
    /// request path, at most about once a minute: it copies each part of the list
    /// with an entry to drop.
    pub fn expire(&self, now: UnixTime) {
        let _ = self.write(|state| Ok(state.expired(now)));
    }

    /// Returns the issuer's lifetimes, as the last feed states them.
    #[must_use]
    pub fn lifetimes(&self) -> Option<FeedLifetimes> {
        self.0.current.load().lifetimes
    }

    pub(super) fn set_lifetimes(&self, lifetimes: Option<FeedLifetimes>) {
        let _ = self
            .write(|state| Ok((state.lifetimes != lifetimes).then(|| State { lifetimes, ..state.clone() })));
    }

    /// Calls `callback` after each change that may revoke something, in the thread
    /// of the change, until the subscription is dropped. It must not block, and may
    /// read the list.
    pub fn on_change(&self, callback: impl Fn() + Send + Sync + 'static) -> Subscription {
        let callback: Arc<Callback> = Arc::new(callback);
        lock(&self.0.subscribers).push(Arc::downgrade(&callback));
        Subscription { _callback: callback }
    }

    /// Builds the next list and swaps it in; `None` keeps the current one.
    fn write(
        &self,
        next: impl FnOnce(&State) -> Result<Option<State>, OutOfOrder>,
    ) -> Result<(), OutOfOrder> {
        // Dropping the last reference frees a whole table. A reader must not do
        // that, so the writer does, now or next time: nobody gets new references
        // to a list that was swapped out.
        let free = |retired: &mut Vec<_>| retired.retain(|old| Arc::strong_count(old) > 1);
        let mut retired = lock(&self.0.writer);
        free(&mut retired);
        let current = self.0.current.load_full();
        let Some(next) = next(&current)? else { return Ok(()) };
        let revoked_more = next.revision != current.revision;
        drop(current);
        retired.push(self.0.current.swap(Arc::new(next)));
        free(&mut retired);
        drop(retired);
        if revoked_more {
            self.notify();
        }
        Ok(())
    }

    fn notify(&self) {
        let mut live = Vec::new();
        lock(&self.0.subscribers).retain(|callback| {
            let callback = callback.upgrade();
            let is_live = callback.is_some();
            live.extend(callback);
            is_live
        });
        // Without the lock: a callback may subscribe another.
        for callback in live {
            callback();
        }
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.snapshot(), f)
    }
}

/// Ignores poisoning: the guarded data is consistent at every moment, and
/// revocation must go on after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a callback of [`RevocationList::on_change`] registered.
#[must_use = "the callback is forgotten when this is dropped"]
pub struct Subscription {
    _callback: Arc<Callback>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

/// A [`RevocationList`] during one request.
pub(crate) struct Current(Guard<Arc<State>>);

impl Current {
    /// See [`RevocationList::check`].
    pub(crate) fn check(
        &self,
        sid: &SessionId,
        subject: &str,
        key: KeyId,
        started: UnixTime,
    ) -> Option<RevokedBy> {
        self.0.check(sid, subject, key, started)
    }

    /// See [`RevocationList::as_of`].
    pub(crate) fn as_of(&self) -> Option<UnixTime> {
        self.0.as_of
    }

    /// See [`RevocationList::lifetimes`].
    pub(crate) fn lifetimes(&self) -> Option<FeedLifetimes> {
        self.0.lifetimes
    }
}

/// A [`RevocationList`] at one moment.
#[derive(Clone)]
pub struct Snapshot(Arc<State>);

impl Snapshot {
    /// See [`RevocationList::check`].
    #[must_use]
    pub fn check(&self, sid: &SessionId, subject: &str, key: KeyId, started: UnixTime) -> Option<RevokedBy> {
        self.0.check(sid, subject, key, started)
    }

    /// See [`RevocationList::as_of`].
    #[must_use]
    pub fn as_of(&self) -> Option<UnixTime> {
        self.0.as_of
    }

    /// See [`RevocationList::position`].
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.0.position
    }

    /// See [`RevocationList::len`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// See [`RevocationList::is_empty`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Iterates over the entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.0.entries()
    }

    /// Returns the approximate memory of the entries, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.0.sessions.heap_bytes() + self.0.subjects.heap_bytes()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList")
            .field("position", &self.position())
            .field("as_of", &self.as_of())
            .field("len", &self.len())
            .finish()
    }
}

/// A whole list. Never changed once readers can see it; clones share tables.
#[derive(Clone)]
struct State {
    position: Option<Position>,
    as_of: Option<UnixTime>,
    lifetimes: Option<FeedLifetimes>,
    /// Counts the times that entries were added.
    revision: u64,
    sessions: Table<Ended>,
    subjects: Table<Cutoff>,
    /// The latest revoked start of any subject.
    subjects_up_to: Option<UnixTime>,
    /// A short list: an issuer has few keys.
    keys: BTreeMap<KeyId, UnixTime>,
    all: Option<Cutoff>,
}

impl State {
    fn new() -> Self {
        Self {
            position: None,
            as_of: None,
            lifetimes: None,
            revision: 0,
            sessions: Table::new(),
            subjects: Table::new(),
            subjects_up_to: None,
            keys: BTreeMap::new(),
            all: None,
        }
    }

    fn check(&self, sid: &SessionId, subject: &str, key: KeyId, started: UnixTime) -> Option<RevokedBy> {
        if self.all.is_some_and(|all| started <= all.up_to) {
            return Some(RevokedBy::All);
        }
        if self.keys.contains_key(&key) {
            return Some(RevokedBy::Key);
        }
        if self.subjects_up_to.is_some_and(|newest| started <= newest)
            && let Some(cutoff) = self.subjects.get(SubjectHash::of(subject).as_bytes())
            && started <= cutoff.up_to
        {
            return Some(RevokedBy::Subject);
        }
        self.sessions.get(sid.as_bytes()).map(|_| RevokedBy::Session)
    }

    /// An empty list, from which a snapshot starts.
    fn emptied(&self) -> Self {
        Self { revision: self.revision, lifetimes: self.lifetimes, ..Self::new() }
    }

    /// This list with `entries` added.
    fn with(&self, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut next = self.clone();
        let mut subjects = Vec::new();
        let mut added = false;
        let sessions = entries.into_iter().inspect(|_| added = true).filter_map(|entry| {
            match entry {
                Entry::Session { sid, ends } => return Some((*sid.as_bytes(), Ended(ends))),
                Entry::Subject { hash, up_to, ends } => {
                    subjects.push((*hash.as_bytes(), Cutoff { up_to, ends }));
                    next.subjects_up_to = next.subjects_up_to.max(Some(up_to));
                }
                Entry::Key { kid, ends } => {
                    let kept = next.keys.entry(kid).or_insert(ends);
                    *kept = (*kept).max(ends);
                }
                Entry::All { up_to, ends } => {
                    let all = Cutoff { up_to, ends };
                    next.all = Some(next.all.map_or(all, |old| old.join(all)));
                }
            }
            None
        });
        next.sessions = self.sessions.with(sessions);
        next.subjects = self.subjects.with(subjects);
        next.revision += u64::from(added);
        next
    }

    /// This list without expired entries; `None` if there are none.
    fn expired(&self, now: UnixTime) -> Option<Self> {
        let is_kept = |ends: UnixTime| kept_until(ends) >= now;
        let sessions = self.sessions.expired(now);
        let subjects = self.subjects.expired(now);
        if sessions.is_none()
            && subjects.is_none()
            && self.keys.values().all(|ends| is_kept(*ends))
            && self.all.is_none_or(|all| is_kept(all.ends))
        {
            return None;
        }
        let mut next = self.clone();
        next.sessions = sessions.unwrap_or(next.sessions);
        if let Some(subjects) = subjects {
            next.subjects_up_to = subjects.iter().map(|(_, cutoff)| cutoff.up_to).max();
            next.subjects = subjects;
        }
        next.keys.retain(|_, ends| is_kept(*ends));
        next.all = next.all.filter(|all| is_kept(all.ends));
        Some(next)
    }

    fn not_past(&self, offered: Position) -> Result<(), OutOfOrder> {
        match self.position {
            Some(current) if current > offered => Err(OutOfOrder::Backwards { current, offered }),
            _ => Ok(()),
        }
    }

    /// Sets its position in the feed, after `previous`.
    fn follow(&mut self, previous: &Self, position: Position, as_of: UnixTime) {
        let same_epoch = previous.position.is_some_and(|old| old.epoch == position.epoch);
        self.as_of = if same_epoch { previous.as_of.max(Some(as_of)) } else { Some(as_of) };
        self.position = Some(position);
    }

    fn len(&self) -> usize {
        self.sessions.len() + self.subjects.len() + self.keys.len() + usize::from(self.all.is_some())
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        let sessions = self
            .sessions
            .iter()
            .map(|(sid, Ended(ends))| Entry::Session { sid: SessionId::from_bytes(*sid), ends });
        let subjects = self.subjects.iter().map(|(hash, Cutoff { up_to, ends })| Entry::Subject {
            hash: SubjectHash::from_bytes(*hash),
            up_to,
            ends,
        });
        let keys = self.keys.iter().map(|(kid, ends)| Entry::Key { kid: *kid, ends: *ends });
        let all = self.all.map(|Cutoff { up_to, ends }| Entry::All { up_to, ends });
        sessions.chain(subjects).chain(keys).chain(all)
    }
}

/// When a revoked session ends.
#[derive(Clone, Copy)]
struct Ended(UnixTime);

impl Value for Ended {
    fn kept_until(self) -> UnixTime {
        kept_until(self.0)
    }

    fn join(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }
}

/// The last revoked start, and when those sessions will have ended.
#[derive(Clone, Copy)]
struct Cutoff {
    up_to: UnixTime,
    ends: UnixTime,
}

impl Value for Cutoff {
    fn kept_until(self) -> UnixTime {
        kept_until(self.ends)
    }

    /// Joining may keep the earlier of two cut-offs longer than needed, when
    /// everything that it revokes has ended. It revokes nothing else.
    fn join(self, other: Self) -> Self {
        Self { up_to: self.up_to.max(other.up_to), ends: self.ends.max(other.ends) }
    }
}
