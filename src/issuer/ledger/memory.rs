//! The ledger of one process without a store.

use crate::error::RevokedBy;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::{Backing, Judgement, Outcome, RenewalRefusal, RenewalRequest, Row, subject_hash};
use crate::id::{KeyId, SessionId, Subject, SubjectHash};
use crate::policy::Lifetimes;
use crate::revocation::KEPT_PAST_END;
use crate::session::Session;
use crate::time::UnixTime;

/// The ledger is full of live revocations. It never drops one to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} live revocations are remembered and there is no room for another; \
     make the ledger larger (revoking all sessions at once always has room)"
)]
pub struct LedgerFull(pub usize);

/// Rows in a bounded LRU cache, revocations beside it.
///
/// A session whose row was evicted can still be renewed: its genuine token counts
/// as the newest. Only the evidence of earlier theft is lost with the row.
/// Live revocations are never evicted, but they end with the process. So its
/// sessions should end with it (a new key at each start), or use a store.
///
/// One lock, held for less than a microsecond; signing happens outside it.
#[derive(Debug)]
pub struct MemoryLedger {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rows: LruCache<SessionId, Row>,
    revoked: Revoked,
    /// The largest `ends` ever issued.
    last_end: UnixTime,
    /// The largest `started` ever issued.
    last_start: UnixTime,
}

#[derive(Debug)]
struct Revoked {
    room: usize,
    /// Each with the end of the last session that it revokes.
    sessions: HashMap<SessionId, UnixTime>,
    /// The last revoked start, and the end.
    subjects: HashMap<SubjectHash, (UnixTime, UnixTime)>,
    keys: Vec<KeyId>,
    all: Option<UnixTime>,
}

impl MemoryLedger {
    /// Default capacity for rows and, separately, for revocations: about 20 MB when
    /// full.
    pub const DEFAULT_CAPACITY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99_999);

    /// Makes a ledger with room for `sessions` rows and `revocations` live
    /// revocations of sessions and subjects.
    #[must_use]
    pub fn new(sessions: NonZeroUsize, revocations: NonZeroUsize) -> Self {
        let state = State {
            // Grows as it fills.
            rows: LruCache::sparse(sessions),
            revoked: Revoked {
                room: revocations.get(),
                sessions: HashMap::new(),
                subjects: HashMap::new(),
                keys: Vec::new(),
                all: None,
            },
            last_end: UnixTime::EPOCH,
            last_start: UnixTime::EPOCH,
        };
        Self { state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and each change is complete in
        // itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the earliest start of a session of `subject` that no revocation
    /// covers: `now`, or one second after the revoked starts.
    #[must_use]
    pub fn earliest_start(&self, subject: &Subject, now: UnixTime) -> UnixTime {
        self.state().revoked.earliest_start(SubjectHash::of(subject.as_str()), now)
    }

    /// Enters a session whose first token was just signed.
    ///
    /// # Errors
    /// The earliest possible start, if a revocation covers this one.
    pub fn start(&self, session: &Session, lifetimes: &Lifetimes, now: UnixTime) -> Result<(), UnixTime> {
        let mut state = self.state();
        let earliest = state.revoked.earliest_start(SubjectHash::of(session.subject()), now);
        if state.revoked.covers_start(SubjectHash::of(session.subject()), session.started_at()) {
            return Err(earliest);
        }
        state.last_end = state.last_end.max(session.ends_at());
        state.last_start = state.last_start.max(session.started_at());
        state.rows.put(session.id(), Row::first(session, lifetimes));
        Ok(())
    }

    /// Applies the rule to a verified token, with revocation checked in the same
    /// step.
    ///
    /// # Errors
    /// [`LedgerFull`] if a session must be revoked for reuse and there is no room;
    /// the token is not renewed then.
    pub fn renew(&self, request: &RenewalRequest) -> Result<Outcome, LedgerFull> {
        let mut state = self.state();
        let id = request.session_id;
        if let Some(by) = state.revoked.find(request) {
            return Ok(Outcome::Refused(RenewalRefusal::Revoked { by }));
        }
        // Includes sessions of other processes and from before a restart.
        state.last_end = state.last_end.max(request.presented.ends);
        state.last_start = state.last_start.max(request.started);
        let known = state.rows.get(&id).copied();
        let verdict = request.judge(known, Backing::CacheOnly, &state.revoked.keys);
        let (row, outcome) = match verdict {
            Judgement::Keep(row) => (row, Outcome::Keep(row)),
            Judgement::Successor(row) => (row, Outcome::Successor(row)),
            Judgement::Reuse => {
                state.revoked.session(id, request.presented.ends, request.now)?;
                state.rows.pop(&id);
                return Ok(Outcome::Refused(RenewalRefusal::Reuse));
            }
            Judgement::Unknown => return Ok(Outcome::Refused(RenewalRefusal::Unknown)),
            Judgement::NotYetValid => return Ok(Outcome::Refused(RenewalRefusal::NotYetValid)),
            Judgement::SessionEnded => return Ok(Outcome::Refused(RenewalRefusal::SessionEnded)),
            Judgement::Expired => return Ok(Outcome::Refused(RenewalRefusal::Expired)),
        };
        if known != Some(row) {
            state.rows.put(id, row);
        }
        Ok(outcome)
    }

    /// Revokes a session that ends at `ends`. Returns whether this changed anything.
    ///
    /// # Errors
    /// [`LedgerFull`].
    pub fn revoke_session(&self, id: SessionId, ends: UnixTime, now: UnixTime) -> Result<bool, LedgerFull> {
        let mut state = self.state();
        let news = state.revoked.session(id, ends, now)?;
        state.rows.pop(&id);
        Ok(news)
    }

    /// Revokes every session of `subject` started so far. Returns whether this
    /// changed anything.
    ///
    /// # Errors
    /// [`LedgerFull`].
    pub fn revoke_subject(&self, subject: &Subject, now: UnixTime) -> Result<bool, LedgerFull> {
        let mut state = self.state();
        let (until, ends) = state.reach(now);
        state.revoked.subject(SubjectHash::of(subject.as_str()), until, ends, now)
    }

    /// Revokes every session started so far; there is always room. Returns whether
    /// this changed anything.
    pub fn revoke_all(&self, now: UnixTime) -> bool {
        let mut state = self.state();
        let (until, _) = state.reach(now);
        let news = state.revoked.all < Some(until);
        if news {
            state.revoked.all = Some(until);
        }
        news
    }

    /// Revokes all tokens of a key. It is kept for good, since a thief of the key
    /// can sign any `ends`. Returns whether this changed anything.
    pub fn revoke_key(&self, id: KeyId) -> bool {
        let mut state = self.state();
        let news = !state.revoked.keys.contains(&id);
        if news {
            state.revoked.keys.push(id);
        }
        news
    }
}

impl Default for MemoryLedger {
    fn default() -> Self {
        Self::new(Self::DEFAULT_CAPACITY, Self::DEFAULT_CAPACITY)
    }
}

impl State {
    /// Returns the last start and the last end that a revocation at `now` covers.
    /// A log-in after another revocation in the same second starts one second
    /// later than now.
    fn reach(&self, now: UnixTime) -> (UnixTime, UnixTime) {
        let until = now.max(self.last_start);
        (until, self.last_end.max(until))
    }
}

impl Revoked {
    fn find(&self, request: &RenewalRequest) -> Option<RevokedBy> {
        if self.sessions.contains_key(&request.session_id) {
            Some(RevokedBy::Session)
        } else if self.subject_until(subject_hash(request)) >= Some(request.started) {
            Some(RevokedBy::Subject)
        } else if self.keys.contains(&request.presented.key_id) {
            Some(RevokedBy::Key)
        } else if self.all >= Some(request.started) {
            Some(RevokedBy::All)
        } else {
            None
        }
    }

    fn subject_until(&self, subject: SubjectHash) -> Option<UnixTime> {
        self.subjects.get(&subject).map(|(until, _)| *until)
    }

    fn covers_start(&self, subject: SubjectHash, started: UnixTime) -> bool {
        self.all.max(self.subject_until(subject)) >= Some(started)
    }

    fn earliest_start(&self, subject: SubjectHash, now: UnixTime) -> UnixTime {
        let until = self.all.max(self.subject_until(subject));
        until.map_or(now, |until| now.max(until.saturating_add(std::time::Duration::from_secs(1))))
    }

    fn session(&mut self, id: SessionId, ends: UnixTime, now: UnixTime) -> Result<bool, LedgerFull> {
        if self.sessions.contains_key(&id) {
            return Ok(false);
        }
        self.make_room(now)?;
        self.sessions.insert(id, ends);
        Ok(true)
    }

    fn subject(
        &mut self,
        hash: SubjectHash,
        until: UnixTime,
        ends: UnixTime,
        now: UnixTime,
    ) -> Result<bool, LedgerFull> {
        if let Entry::Occupied(mut entry) = self.subjects.entry(hash) {
            let news = entry.get().0 < until;
            if news {
                entry.insert((until, ends));
            }
            return Ok(news);
        }
        self.make_room(now)?;
        self.subjects.insert(hash, (until, ends));
        Ok(true)
    }

    /// Drops revocations whose sessions have ended, and nothing else.
    fn make_room(&mut self, now: UnixTime) -> Result<(), LedgerFull> {
        if self.sessions.len() + self.subjects.len() < self.room {
            return Ok(());
        }
        let live = |ends: UnixTime| now <= ends.saturating_add(KEPT_PAST_END);
        self.sessions.retain(|_, ends| live(*ends));
        self.subjects.retain(|_, (_, ends)| live(*ends));
        let kept = self.sessions.len() + self.subjects.len();
        if kept < self.room { Ok(()) } else { Err(LedgerFull(kept)) }
    }
}
