//! The renewal rule. It is a pure function, so tests can try millions of histories.
//!
//! The row of a session holds its newest generation L. A token of generation p is
//! evidence of theft once generation p + 1 has been in use for longer than the grace
//! period: its presenter could have had the newer token, and somebody else took it.

use crate::id::KeyId;
use crate::policy::Lifetimes;
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
    /// The key that signed it.
    pub key_id: KeyId,
    /// SHA-256 of the claims that all tokens of the session share.
    pub carried: [u8; 32],
    /// When a token of generation L was first presented, if ever.
    pub seen_at: Option<UnixTime>,
    /// When the token of L was last repeated, if so late that it is due within a
    /// grace period.
    pub repeated_at: Option<UnixTime>,
}

impl Row {
    /// Makes the row in which `token` is the newest and not yet presented.
    #[must_use]
    pub const fn newest(token: &Presented) -> Self {
        Self {
            generation: token.generation,
            issued: token.issued,
            expires: token.expires,
            key_id: token.key_id,
            carried: token.carried,
            seen_at: None,
            repeated_at: None,
        }
    }

    /// Makes the row of a new session.
    #[must_use]
    pub fn first(session: &Session) -> Self {
        Self::newest(&Presented::of(session.key_id(), session.all_claims()))
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
    /// Refuse: expired.
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
    if now >= token.ends.saturating_add(lifetimes.leeway()) {
        return Judgement::SessionEnded;
    }
    let row = match (row, backing) {
        // A store without the row does not know the session.
        (None, Backing::Store) => return Judgement::Unknown,
        // A cache may have evicted the row.
        (None, Backing::CacheOnly) => Row::newest(token),
        // p > L: an older database was restored, so L becomes p. No token of
        // this session has these claims; it may be signed with a stolen key.
        (Some(row), _) if token.carried != row.carried => return Judgement::Unknown,
        (Some(row), _) if token.generation > row.generation => Row::newest(token),
        (Some(row), _) => row,
    };
    // Reuse is checked before the token's own times: an expired token two
    // generations behind is evidence too.
    let behind = row.generation - token.generation;
    let over = |seen: UnixTime| now.since(seen) > lifetimes.renewal_grace();
    let reused = match behind {
        0 => false,
        // A clock that stepped back counts as within the grace: `since` returns
        // zero then.
        1 => row.seen_at.is_some_and(over) && !has_expired(token, lifetimes, now),
        _ => true,
    };
    if reused {
        return Judgement::Reuse;
    }
    if token.issued > now.saturating_add(lifetimes.leeway()) {
        return Judgement::NotYetValid;
    }
    if has_expired(token, lifetimes, now) {
        return Judgement::Expired;
    }
    if behind == 0 {
        newest(row, token, lifetimes, keys, now)
    } else {
        again(row, token, lifetimes, keys, now)
    }
}

fn has_expired(token: &Presented, lifetimes: &Lifetimes, now: UnixTime) -> bool {
    now >= token.expires.saturating_add(lifetimes.leeway())
}

/// Decides on the newest token, p = L. Sets `seen_at`. A token that is not due
/// comes back itself. A due one is replaced: the row becomes L + 1 with an
/// empty `seen_at`, and its token is signed.
///
/// One exception: a lost answer can be repeated so late that its token is due when
/// first used. If it were superseded at once, parallel requests of the same client
/// that still carry L − 1 would be two behind, and a slow answer could overwrite
/// L + 1 with L. So a grace period passes between the two. The successor is still in
/// time: L went to a predecessor that had not expired, and expires at least
/// `renew_after`, which is two grace periods, after that.
fn newest(
    mut row: Row,
    token: &Presented,
    lifetimes: &Lifetimes,
    keys: SigningKeyIds<'_>,
    now: UnixTime,
) -> Judgement {
    row.seen_at = row.seen_at.or(Some(now));
    let settled = row.repeated_at.is_none_or(|at| now.since(at) >= lifetimes.renewal_grace());
    let due = lifetimes.due(token.issued, token.expires, token.ends, now);
    match row.generation.checked_add(1) {
        // After `ends`, within the leeway, no token can have iat < exp ≤ ends.
        Some(generation) if due && settled && now < token.ends => Judgement::Successor(Row {
            generation,
            // Not before the predecessor's `iat`, since the predecessor is due.
            issued: now,
            expires: lifetimes.expiry(now, token.ends),
            key_id: keys.newest,
            seen_at: None,
            repeated_at: None,
            ..row
        }),
        _ => Judgement::Keep(row),
    }
}

/// Decides on the predecessor, p = L − 1: repeats the token of L,
/// byte-identical, signed again from the row's kid, iat and exp.
fn again(
    mut row: Row,
    token: &Presented,
    lifetimes: &Lifetimes,
    keys: SigningKeyIds<'_>,
    now: UnixTime,
) -> Judgement {
    let usable = keys.available.contains(&row.key_id) && now < row.expires.saturating_add(lifetimes.leeway());
    if usable {
        let due_at = row.issued.saturating_add(lifetimes.renew_after());
        if now.saturating_add(lifetimes.renewal_grace()) > due_at {
            row.repeated_at = row.repeated_at.max(Some(now));
        }
        return Judgement::Successor(row);
    }
    // Its key was withdrawn or the lifetimes were shortened. Nobody can use the token
    // of L, so generation L is issued again.
    let issued = now.max(token.issued);
    if issued >= token.ends {
        return Judgement::Keep(row);
    }
    Judgement::Successor(Row {
        issued,
        expires: lifetimes.expiry(issued, token.ends),
        key_id: keys.newest,
        seen_at: None,
        repeated_at: None,
        ..row
    })
}
