//! The renewal rule. It is a pure function, so tests can try millions of histories.
//!
//! The row of a session holds its newest generation L. A token of generation p is
//! evidence of theft once generation p + 1 has been in use for longer than the grace
//! period: its presenter could have had the newer token, and somebody else took it.
//!
//! A session can rest for longer than a token lives: then its expired token is
//! still good for renewal, and for nothing else. If the answer with L was lost and
//! L has expired, generation L is made anew. A token of the earlier making is then
//! judged as a token of L − 1 is.

use std::time::Duration;

use crate::id::KeyId;
use crate::policy::{Lifetimes, Profile};
use crate::session::Session;
use crate::time::UnixTime;
use crate::verify::VerifiedToken;
use crate::wire::claims::Claims;

/// What the issuer stores of a session's newest token: enough to sign it again,
/// byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The newest generation, L.
    pub generation: u64,
    /// Its `iat`.
    pub issued: UnixTime,
    /// Its `exp`.
    pub expires: UnixTime,
    /// Until when the session can be renewed; at least `exp`.
    pub renewable_until: UnixTime,
    /// The key that signed it.
    pub key_id: KeyId,
    /// SHA-256 of the claims that all tokens of the session share.
    pub carried: [u8; 32],
    /// When a token of generation L was first presented, if ever.
    pub seen_at: Option<UnixTime>,
    /// When the token of L was last repeated, if so late that it is due within a
    /// grace period.
    pub repeated_at: Option<UnixTime>,
    /// The kind of the log-in.
    pub profile: Profile,
}

impl Row {
    /// Makes the row in which `token` is the newest and not yet presented.
    #[must_use]
    pub fn newest(token: &Presented, lifetimes: &Lifetimes) -> Self {
        Self {
            generation: token.generation,
            issued: token.issued,
            expires: token.expires,
            renewable_until: lifetimes.renewable_until(token.issued, token.expires, token.ends),
            key_id: token.key_id,
            carried: token.carried,
            seen_at: None,
            repeated_at: None,
            profile: Profile::Standard,
        }
    }

    /// Makes the row of a new session.
    #[must_use]
    pub fn first(session: &Session, lifetimes: &Lifetimes) -> Self {
        Self::newest(&Presented::of(session.key_id(), session.all_claims()), lifetimes)
    }
}

/// The facts of a verified token that the rule uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Its generation, p.
    pub generation: u64,
    /// Its `iat`.
    pub issued: UnixTime,
    /// Its `exp`.
    pub expires: UnixTime,
    /// The session's end.
    pub ends: UnixTime,
    /// The key that signed it.
    pub key_id: KeyId,
    /// SHA-256 of the claims that renewal carries over.
    pub carried: [u8; 32],
}

impl Presented {
    fn of(key_id: KeyId, claims: &Claims) -> Self {
        Self {
            generation: claims.session.generation,
            issued: claims.issued,
            expires: claims.expires,
            ends: claims.session.ends,
            key_id,
            carried: claims.carried(),
        }
    }
}

impl From<&VerifiedToken> for Presented {
    fn from(token: &VerifiedToken) -> Self {
        Self::of(token.key_id(), token.claims())
    }
}

/// Where rows are stored, which decides what a missing row means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A store: a session without a row does not exist.
    Store,
    /// Only a bounded cache: a row may have been evicted.
    CacheOnly,
}

/// The keys that can sign now.
#[derive(Clone, Copy, Debug)]
pub struct SigningKeyIds<'a> {
    /// Signs new tokens.
    pub newest: KeyId,
    /// Can repeat their signatures; includes the newest.
    pub available: &'a [KeyId],
}

/// The decision on a token that was presented for renewal. A row that comes with it
/// replaces the stored row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Judgement {
    /// Answer with the token itself.
    Keep(Row),
    /// Sign the token of this row, for the first time or again.
    Successor(Row),
    /// Refuse: the store has no such session, or another one with this id.
    Unknown,
    /// Refuse and revoke the session: somebody else has used a successor of this
    /// token.
    Reuse,
    /// Refuse: issued in the future.
    NotYetValid,
    /// Refuse: the session's absolute lifetime is over.
    SessionEnded,
    /// Refuse: nobody used the session for its idle timeout.
    Expired,
}

/// Applies the rule to a verified token that is not revoked.
pub fn renew(
    row: Option<Row>,
    backing: Backing,
    token: &Presented,
    lifetimes: &Lifetimes,
    keys: SigningKeyIds<'_>,
    now: UnixTime,
) -> Judgement {
    let leeway = lifetimes.leeway();
    if now >= token.ends.saturating_add(leeway) {
        return Judgement::SessionEnded;
    }
    let row = match (row, backing) {
        // A store without the row does not know the session.
        (None, Backing::Store) => return Judgement::Unknown,
        // A cache may have evicted the row.
        (None, Backing::CacheOnly) => Row::newest(token, lifetimes),
        // No token of this session has these claims; it may be signed with a
        // stolen key.
        (Some(row), _) if token.carried != row.carried => return Judgement::Unknown,
        // Newer than L: an older database was restored.
        (Some(row), _) if (token.generation, token.issued) > (row.generation, row.issued) => {
            Row { profile: row.profile, ..Row::newest(token, lifetimes) }
        }
        (Some(row), _) => row,
    };
    if now >= row.renewable_until.saturating_add(leeway) {
        return Judgement::Expired;
    }
    if token.issued > now.saturating_add(leeway) {
        return Judgement::NotYetValid;
    }
    let ask = Ask { token, lifetimes, keys, now };
    match row.generation - token.generation {
        0 if token.issued == row.issued => ask.newest(row),
        // An answer with L that was given within a grace before L was made anew
        // may arrive after the new one.
        0 if ask.in_use(&row) && row.repeated_at.is_none_or(|at| row.issued.since(at) > ask.grace()) => {
            Judgement::Reuse
        }
        1 if ask.in_use(&row) => Judgement::Reuse,
        0 | 1 => ask.again(row),
        _ => Judgement::Reuse,
    }
}

/// A presented token, and what its renewal depends on.
struct Ask<'a> {
    token: &'a Presented,
    lifetimes: &'a Lifetimes,
    keys: SigningKeyIds<'a>,
    now: UnixTime,
}

impl Ask<'_> {
    const fn grace(&self) -> Duration {
        self.lifetimes.renewal_grace()
    }

    /// Returns whether L has been in use for longer than a grace. A clock that
    /// stepped back counts as within the grace: `since` returns zero then.
    fn in_use(&self, row: &Row) -> bool {
        row.seen_at.is_some_and(|seen| self.now.since(seen) > self.grace())
    }

    /// Decides on the newest token, p = L. Sets `seen_at`. A token that is not
    /// due comes back itself. A due one is replaced: the row becomes L + 1 with
    /// an empty `seen_at`, and its token is signed.
    ///
    /// One exception: a lost answer can be repeated so late that its token is
    /// due when first used. If it were superseded at once, parallel requests of
    /// the same client that still carry L − 1 would be two behind, and a slow
    /// answer could overwrite L + 1 with L. So a grace period passes between
    /// the two. If L expires meanwhile, it is made anew.
    fn newest(&self, mut row: Row) -> Judgement {
        row.seen_at = row.seen_at.or(Some(self.now));
        let settled = row.repeated_at.is_none_or(|at| self.now.since(at) >= self.grace());
        let expired = row.expires <= self.now;
        let due = self.lifetimes.due(row.issued, row.expires, self.token.ends, self.now);
        if !due && !expired {
            return Judgement::Keep(row);
        }
        match row.generation.checked_add(1) {
            Some(generation) if settled => {
                self.issue(Row { generation, repeated_at: None, ..row }).unwrap_or_else(|| self.ending(row))
            }
            _ if expired => self.issue(row).unwrap_or_else(|| self.ending(row)),
            _ => Judgement::Keep(row),
        }
    }

    /// Decides on the predecessor, p = L − 1, and on a token of an earlier
    /// making of L: repeats the token of L, byte-identical, signed again from
    /// the row's kid, iat and exp. If nobody can use that token, because it has
    /// expired or its key was withdrawn, L is made anew.
    fn again(&self, mut row: Row) -> Judgement {
        let usable = self.keys.available.contains(&row.key_id) && self.now < row.expires;
        if !usable {
            return self.issue(row).unwrap_or_else(|| self.ending(row));
        }
        let due_at = row.issued.saturating_add(self.lifetimes.renew_after());
        if self.now.saturating_add(self.grace()) > due_at {
            row.repeated_at = row.repeated_at.max(Some(self.now));
        }
        Judgement::Successor(row)
    }

    /// Issues the token of `row` now; `None` at the session's end.
    fn issue(&self, row: Row) -> Option<Judgement> {
        let ends = self.token.ends;
        // Not before the predecessor's `iat`, if the clock was set back.
        let issued = self.now.max(row.issued);
        let expires = self.lifetimes.expiry(issued, ends);
        (issued < ends).then(|| {
            Judgement::Successor(Row {
                issued,
                expires,
                renewable_until: self.lifetimes.renewable_until(issued, expires, ends),
                key_id: self.keys.newest,
                seen_at: None,
                ..row
            })
        })
    }

    /// Within the leeway after the session's end, no token can be issued.
    fn ending(&self, row: Row) -> Judgement {
        let presented = self.token.generation == row.generation && self.token.issued == row.issued;
        if presented && self.now < row.expires.saturating_add(self.lifetimes.leeway()) {
            Judgement::Keep(row)
        } else {
            Judgement::SessionEnded
        }
    }
}
