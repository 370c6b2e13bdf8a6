//! The signed feed: it carries the revocation list and the session keys from
//! the issuer to the edges.
//!
//! ```text
//! part  = #6.18([ protected: bstr .cbor header, unprotected: {}, payload: bstr .cbor feed, signature ])
//! feed  = { 1: epoch, 2: sequence, 3: base / null, 4: exp, 6: iat, 7: [part, parts], 8: [*entry], 9: [*session-key],
//!           ? 10: [token_max_age, idle_timeout, renew_after, leeway] }
//! entry = [0, sid, ends] / [1, first 16 bytes of SHA-256(sub), t, ends] / [2, kid, ends] / [3, t, ends]
//! session-key = [kid, x, alg, not-before, not-after]
//! ```
//!
//! A feed consists of all its parts: 0 ≤ part < parts, fields 1 to 6 equal in
//! each; the entries and session keys are those of all parts. Each part has its
//! own signature and at most [`MAX_PART_BYTES`]. `base` is null in a snapshot;
//! in a delta it is the sequence that the delta starts from, at most
//! `sequence`. A delta of base = sequence without entries is a re-signing:
//! nothing was revoked since. A key without a known end has the not-after
//! 9999-12-31T23:59:59Z (as RFC 5280 §4.1.2.5 writes it).
//!
//! Several parts in one body or file are a CBOR Sequence (RFC 8742) of them,
//! [`MEDIA_TYPE`]. In a server-sent event each is the data of one event, as
//! base64url without padding ([`part_to_text`]).

mod error;
mod part;
mod session_key;
#[cfg(feature = "issuer")]
mod sign;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::error::{ConfigError, Malformed};
use crate::key::{KeySet, LiveKeys, VerifyingKey, exchange};
use crate::revocation::{Entry, FeedLifetimes, Position, RevocationList};
use crate::time::{DEFAULT_LEEWAY, MAX_LEEWAY, UnixTime};
use crate::wire::cose::{Sign1, Typ};
use crate::wire::text;

pub use self::error::{FeedError, MAX_PART_BYTES, MAX_SESSION_KEYS};
pub use self::part::FeedPart;
use self::part::Payload;
pub use self::session_key::SessionKey;
#[cfg(feature = "issuer")]
pub use self::sign::NewFeed;

/// Content-Type of a body of parts.
pub const MEDIA_TYPE: &str = "application/hallpass-feed+cbor-seq";

/// The feed keys that an edge pins. They verify feeds and never a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedKeys {
    keys: KeySet,
    leeway: Duration,
}

impl FeedKeys {
    /// # Errors
    /// As [`KeySet::new`].
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, ConfigError> {
        Ok(Self { keys: KeySet::unprepared(keys)?, leeway: DEFAULT_LEEWAY })
    }

    /// Reads a COSE Key Set or a JWKS, as `hallpass key export --use feed`
    /// writes them.
    ///
    /// # Errors
    /// As [`KeySet::from_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        Self::new(exchange::keys_from_bytes(bytes)?)
    }

    /// Sets the clock skew, at most 60 s; default 5 s.
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway.min(MAX_LEEWAY);
        self
    }

    /// The keys as a COSE Key Set.
    #[must_use]
    pub fn to_cose(&self) -> Vec<u8> {
        self.keys.to_cose()
    }

    /// The keys, in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &VerifyingKey> {
        self.keys.iter()
    }

    /// Returns whether it has this key, retired or not.
    #[must_use]
    pub fn contains(&self, key: &VerifyingKey) -> bool {
        self.keys.iter().any(|pinned| pinned.as_bytes() == key.as_bytes())
    }

    /// Verifies one part, then reads it. Refuses more than [`MAX_PART_BYTES`]
    /// bytes.
    ///
    /// # Errors
    /// [`FeedError`], except those about several parts.
    pub fn verify_part(&self, bytes: &[u8], now: UnixTime) -> Result<FeedPart, FeedError> {
        self.part(bytes, now, Expiry::Enforced)
    }

    fn part(&self, bytes: &[u8], now: UnixTime, expiry: Expiry) -> Result<FeedPart, FeedError> {
        if bytes.len() > MAX_PART_BYTES {
            return Err(FeedError::TooLong);
        }
        let frame = Sign1::decode(bytes)?;
        if frame.header.typ != Some(Typ::Feed) {
            return Err(FeedError::WrongType);
        }
        let key_id = frame.header.key_id;
        let key = self.keys.get(key_id, now).ok_or(FeedError::UnknownKey { key_id })?;
        if key.algorithm() != frame.header.algorithm
            || !key.verifies(&frame.signed_message(), frame.signature)
        {
            return Err(FeedError::BadSignature { key_id });
        }
        // Times before entries, so that a stale part's entries are not read.
        let payload = Payload::decode(frame.payload)?;
        self.in_time(payload.head.issued_at, payload.head.expires_at, now, expiry)?;
        let part = payload.read(bytes)?;
        match part.session_keys().iter().find(|key| self.contains(key.verifying_key())) {
            Some(shared) => Err(FeedError::SharedKey { key_id: shared.verifying_key().id() }),
            None => Ok(part),
        }
    }

    fn in_time(
        &self,
        issued_at: UnixTime,
        expires_at: UnixTime,
        now: UnixTime,
        expiry: Expiry,
    ) -> Result<(), FeedError> {
        if issued_at > now.saturating_add(self.leeway) {
            return Err(FeedError::NotYetValid { issued_at, now });
        }
        if expiry == Expiry::Enforced && now >= expires_at.saturating_add(self.leeway) {
            return Err(FeedError::Expired { expires_at, now });
        }
        Ok(())
    }
}

/// Whether a feed may be past its expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    /// Just received: it may be a replay.
    Enforced,
    /// This edge verified and stored it before its expiry. The staleness policy
    /// decides how old it may be, as if the edge had never restarted.
    #[cfg_attr(not(feature = "sync"), allow(dead_code, reason = "the feed's client keeps one"))]
    Waived,
}

/// Collects the verified parts of one feed, in any order.
#[derive(Debug, Default)]
pub struct FeedParts(Vec<FeedPart>);

impl FeedParts {
    /// Adds a part. Returns the feed with its last missing part.
    ///
    /// # Errors
    /// [`FeedError::PartsDisagree`], [`FeedError::DuplicatePart`], and errors
    /// of the feed's session keys. The collected parts are then useless.
    pub fn add(&mut self, part: FeedPart) -> Result<Option<Feed>, FeedError> {
        if self.0.first().is_some_and(|first| first.head() != part.head()) {
            return Err(FeedError::PartsDisagree);
        }
        match self.0.binary_search_by_key(&part.index(), FeedPart::index) {
            Ok(_) => return Err(FeedError::DuplicatePart { part: part.index() }),
            Err(place) => self.0.insert(place, part),
        }
        let parts = self.0[0].head().parts;
        if self.0.len() as u64 == parts {
            Feed::new(core::mem::take(&mut self.0)).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Checks that no part is missing.
    ///
    /// # Errors
    /// [`FeedError::MissingParts`] if only some parts have arrived.
    pub fn finish(&self) -> Result<(), FeedError> {
        match self.0.first() {
            None => Ok(()),
            Some(first) => {
                Err(FeedError::MissingParts { found: self.0.len() as u64, parts: first.head().parts })
            }
        }
    }
}

/// A complete feed that a pinned key signed.
#[derive(Clone, Debug)]
pub struct Feed {
    /// All parts, in order.
    parts: Box<[FeedPart]>,
    session_keys: Box<[SessionKey]>,
}

impl Feed {
    fn new(parts: Vec<FeedPart>) -> Result<Self, FeedError> {
        let keys: Vec<SessionKey> = parts.iter().flat_map(FeedPart::session_keys).cloned().collect();
        if keys.is_empty() {
            return Err(FeedError::NoSessionKeys);
        }
        if keys.len() > MAX_SESSION_KEYS {
            return Err(FeedError::TooManySessionKeys);
        }
        for (n, key) in keys.iter().enumerate() {
            let key_id = key.key.id();
            if keys[..n].iter().any(|other| other.key.id() == key_id) {
                return Err(FeedError::DuplicateSessionKey { key_id });
            }
        }
        Ok(Self { parts: parts.into(), session_keys: keys.into() })
    }

    /// Verifies a CBOR Sequence of exactly one feed's parts, such as a file.
    ///
    /// # Errors
    /// [`FeedError`].
    pub fn from_bytes(keys: &FeedKeys, mut bytes: &[u8], now: UnixTime) -> Result<Self, FeedError> {
        let feed = Self::read(keys, &mut bytes, now, Expiry::Enforced)?.ok_or(Malformed::Empty)?;
        if bytes.is_empty() { Ok(feed) } else { Err(Malformed::TrailingBytes.into()) }
    }

    /// Returns the next feed of a CBOR Sequence; `None` at its end.
    fn read(
        keys: &FeedKeys,
        bytes: &mut &[u8],
        now: UnixTime,
        expiry: Expiry,
    ) -> Result<Option<Self>, FeedError> {
        let mut parts = FeedParts::default();
        while let Some(length) = next_part(bytes)? {
            let (part, rest) = bytes.split_at(length);
            *bytes = rest;
            if let Some(feed) = parts.add(keys.part(part, now, expiry)?)? {
                return Ok(Some(feed));
            }
        }
        parts.finish()?;
        if bytes.is_empty() { Ok(None) } else { Err(Malformed::Truncated.into()) }
    }

    /// The position that a list has after it.
    #[must_use]
    pub fn position(&self) -> Position {
        self.parts[0].head().position
    }

    /// The sequence that it starts from; `None` for a snapshot.
    #[must_use]
    pub fn base(&self) -> Option<u64> {
        self.parts[0].head().base
    }

    /// When it was signed.
    #[must_use]
    pub fn issued_at(&self) -> UnixTime {
        self.parts[0].head().issued_at
    }

    /// When edges stop accepting it.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.parts[0].head().expires_at
    }

    /// The entries, in the order received.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.parts.iter().flat_map(FeedPart::entries)
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(FeedPart::len).sum()
    }

    /// Returns whether it has no entries: a re-signing, or an empty snapshot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The session keys.
    #[must_use]
    pub const fn session_keys(&self) -> &[SessionKey] {
        &self.session_keys
    }

    /// The issuer's lifetimes, if it states them.
    #[must_use]
    pub fn lifetimes(&self) -> Option<FeedLifetimes> {
        self.parts.first().and_then(FeedPart::lifetimes)
    }

    /// The signed parts, in order.
    #[must_use]
    pub const fn parts(&self) -> &[FeedPart] {
        &self.parts
    }

    /// The length of the signed parts, in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.parts.iter().map(|part| part.as_bytes().len()).sum()
    }

    /// The signed parts as a CBOR Sequence.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        self.parts.iter().for_each(|part| bytes.extend_from_slice(part.as_bytes()));
        bytes
    }

    /// Brings `list` and `keys` to this feed's position: both or neither.
    /// Readers never wait. A large snapshot takes a while, so call it on a
    /// blocking thread. Only one task may apply feeds to a list.
    ///
    /// Keys that stay keep their tables; keys whose not-after has passed at
    /// `now` are left out.
    ///
    /// # Errors
    /// [`FeedError::OutOfOrder`] or [`FeedError::Older`] if it does not follow
    /// from the list, [`FeedError::NoSessionKeys`] if all its keys have retired.
    pub fn apply(&self, list: &RevocationList, keys: &LiveKeys, now: UnixTime) -> Result<(), FeedError> {
        let issued_at = self.issued_at();
        let before = list.snapshot();
        if let (Some(position), Some(as_of)) = (before.position(), before.as_of())
            && position == self.position()
            && issued_at < as_of
        {
            // The list would ignore it, but the keys would go back.
            return Err(FeedError::Older { issued_at, as_of });
        }
        drop(before);
        let current = keys.current();
        let next = self.key_set(&current, now)?;
        // First what can fail. Until the keys are replaced too, tokens of a new
        // key are refused, which is safe.
        match self.base() {
            None => list.apply_snapshot(self.position(), issued_at, self.entries())?,
            Some(base) => list.apply_delta(base, self.position(), issued_at, self.entries())?,
        }
        list.set_lifetimes(self.lifetimes());
        if next != *current {
            keys.replace(next);
        }
        Ok(())
    }

    fn key_set(&self, current: &KeySet, now: UnixTime) -> Result<KeySet, FeedError> {
        let live = self
            .session_keys
            .iter()
            .map(SessionKey::verifying_key)
            .filter(|key| key.retires().is_none_or(|retires| now < retires))
            .map(|key| {
                let known = current.iter().find(|known| known.as_bytes() == key.as_bytes());
                match known.filter(|known| known.algorithm() == key.algorithm()) {
                    Some(known) => known.clone().retiring(key.retires()),
                    None => key.clone(),
                }
            });
        // The ids are distinct, so an empty set is the only possible error.
        KeySet::new(live).map_err(|_| FeedError::NoSessionKeys)
    }
}

/// Iterates over the feeds of a CBOR Sequence that this edge verified when it
/// received them, and stored. They may have expired since. Ends after an error.
#[cfg(feature = "sync")]
pub(crate) fn kept_feeds(
    keys: &FeedKeys,
    mut bytes: &[u8],
    now: UnixTime,
) -> impl Iterator<Item = Result<Feed, FeedError>> {
    core::iter::from_fn(move || {
        let next = Feed::read(keys, &mut bytes, now, Expiry::Waived).transpose();
        if matches!(next, Some(Err(_))) {
            bytes = &[];
        }
        next
    })
}

/// Reads the feeds of a CBOR Sequence without verifying anything: for a file
/// that is trusted as a key set's file is.
///
/// # Errors
/// [`FeedError`] if it is not a feed.
#[cfg(feature = "server")]
pub(crate) fn unverified_feeds(mut bytes: &[u8]) -> Result<Vec<Feed>, FeedError> {
    let (mut feeds, mut parts) = (Vec::new(), FeedParts::default());
    while let Some(length) = next_part(bytes)? {
        let (part, rest) = bytes.split_at(length);
        bytes = rest;
        let frame = Sign1::decode(part)?;
        if frame.header.typ != Some(Typ::Feed) {
            return Err(FeedError::WrongType);
        }
        feeds.extend(parts.add(Payload::decode(frame.payload)?.read(part)?)?);
    }
    parts.finish()?;
    Ok(feeds)
}

/// The length of the part that `bytes` begins with; `None` if more bytes are
/// needed.
///
/// # Errors
/// [`FeedError`] if this is not the beginning of a part of allowed length.
pub(crate) fn next_part(bytes: &[u8]) -> Result<Option<usize>, FeedError> {
    match Sign1::length(bytes)? {
        Some(length) if length > MAX_PART_BYTES => Err(FeedError::TooLong),
        None if bytes.len() >= MAX_PART_BYTES => Err(FeedError::TooLong),
        length => Ok(length),
    }
}

/// Encodes a part as the data of a server-sent event.
#[must_use]
pub fn part_to_text(part: &[u8]) -> String {
    text::encode(part)
}

/// Decodes the output of [`part_to_text`].
///
/// # Errors
/// [`FeedError::TooLong`], or [`FeedError::Malformed`] if it is not base64url.
pub fn part_from_text(text: &str) -> Result<Vec<u8>, FeedError> {
    if text.len() > MAX_PART_TEXT {
        return Err(FeedError::TooLong);
    }
    Ok(text::decode_vec(text)?)
}

/// Longest text of a part, in characters.
pub(crate) const MAX_PART_TEXT: usize = text::encoded_len(MAX_PART_BYTES);
