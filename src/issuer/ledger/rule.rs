//! The renewal rule: pure, so that millions of histories can be tried on it.
//!
//! The row of a session knows its newest generation L. A token of generation p
//! is evidence of theft once generation p + 1 has been seen in use for longer
//! than a grace: whoever presents it had the chance to take the newer one and
//! somebody else took it.

use crate::id::KeyId;
use crate::policy::Lifetimes;
use crate::session::Session;
use crate::time::UnixTime;
use crate::verify::VerifiedToken;
use crate::wire::claims::Claims;

/// What the issuer knows of a session's newest token: enough to sign it again,
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
    /// The SHA-256 of the claims that all tokens of the session share.
    pub carried: [u8; 32],
    /// When a token of generation L was first received, if one was.
    pub seen_at: Option<UnixTime>,
    /// When the token of L was last given out again, if that was so late that
    /// it is due within a grace.
    pub repeated_at: Option<UnixTime>,
}

impl Row {
    /// The row in which `token` is the newest and was not received yet.
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

    /// The row of a session that just started.
    #[must_use]
    pub fn first(session: &Session) -> Self {
        Self::newest(&Presented::of(session.key_id(), session.all_claims()))
    }
}

/// What the rule looks at in a verified token.
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
    /// The SHA-256 of the claims that renewal carries over.
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

/// Where rows are kept, and so what a missing one means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A store: a session without a row is none.
    Store,
    /// A bounded cache alone: a row may have been evicted.
    CacheOnly,
}

/// The keys that tokens can be signed with at the moment.
#[derive(Clone, Copy, Debug)]
pub struct SigningKeyIds<'a> {
    /// Signs new tokens.
    pub newest: KeyId,
    /// Can sign again what they signed; among them the newest.
    pub available: &'a [KeyId],
}

/// What is to be done with a token that was presented for renewal. A row that
/// comes with it is to be kept, if it isn't the one there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Judgement {
    /// The token itself comes back.
    Keep(Row),
    /// The token of this row is signed: for the first time or again.
    Successor(Row),
    /// Refused: the store has no such session, or another one of this id.
    Unknown,
    /// Refused, and the session is to be revoked: somebody else has used a
    /// successor of this token.
    Reuse,
    /// Refused: from the future.
    NotYetValid,
    /// Refused: the session's absolute lifetime is over.
    SessionEnded,
    /// Refused: too old.
    Expired,
}

/// The rule. `token` has been verified, and no revocation meets it.
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
        // "no row though there is a store: refused."
        (None, Backing::Store) => return Judgement::Unknown,
        // "without a store […] the cache alone is the ledger": what it does not
        // know is as if lost in a crash.
        (None, Backing::CacheOnly) => Row::newest(token),
        // "p > L (a row lost in a crash): L = p, then as p = L."
        // Signed by us or with a stolen key: no token of this session says this.
        (Some(row), _) if token.carried != row.carried => return Judgement::Unknown,
        (Some(row), _) if token.generation > row.generation => Row::newest(token),
        (Some(row), _) => row,
    };
    // "anything else is reuse […]. So is a genuine token that has merely expired
    // when p ≤ L − 2": hence before the token's own times are looked at.
    let behind = row.generation - token.generation;
    let over = |seen: UnixTime| now.since(seen) > lifetimes.renewal_grace();
    let reused = match behind {
        0 => false,
        // "and `seen_at` is empty or at most a grace ago (a negative time
        // counts as within)": `since` gives zero for those.
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

/// "p = L: set `seen_at`. Not due: the token itself comes back. Due: the row
/// becomes L + 1 with `seen_at` empty, and its token is signed."
///
/// One exception: a lost answer can be repeated so late that its token is due
/// when first used. Were it superseded at once, parallel requests of the same
/// client that still carry L − 1 would be two behind, and a slow answer could
/// put L back over L + 1. So a grace passes between the two. Its successor is
/// still in time then: L was given to a predecessor that had not expired, and
/// expires at least `renew_after`, which is two graces, after that.
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
        // Past `ends`, within the leeway, no token could have iat < exp ≤ ends.
        Some(generation) if due && settled && now < token.ends => Judgement::Successor(Row {
            generation,
            // Not before the predecessor's, since that is due.
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

/// "p = L − 1 […]: the token of L again, byte-identical, re-signed from the row
/// […]; same kid, iat, exp."
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
    // Its key was withdrawn, or the lifetimes were shortened: nobody can use
    // the token of L, so generation L is made anew.
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
