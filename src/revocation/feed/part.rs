//! Reads one part's payload strictly: exactly the fields of the format, in
//! their only encoding.

use core::fmt;
use core::ops::Range;

use crate::error::Malformed;
use crate::id::{KeyId, SessionId};
use crate::key::{Algorithm, VerifyingKey};
use crate::revocation::{Entry, Position, SubjectHash};
use crate::time::UnixTime;
use crate::wire::cbor::{Head as Item, KeyOrder, Reader};

use super::error::{FeedError, MAX_SESSION_KEYS};
use super::session_key::SessionKey;
use crate::revocation::FeedLifetimes;

/// Field labels; iat and exp as in a token.
pub(super) mod label {
    pub(in super::super) const EPOCH: u64 = 1;
    pub(in super::super) const SEQUENCE: u64 = 2;
    pub(in super::super) const BASE: u64 = 3;
    pub(in super::super) const EXP: u64 = 4;
    pub(in super::super) const IAT: u64 = 6;
    pub(in super::super) const PART: u64 = 7;
    pub(in super::super) const ENTRIES: u64 = 8;
    pub(in super::super) const SESSION_KEYS: u64 = 9;
    pub(in super::super) const LIFETIMES: u64 = 10;
    /// Those that every part has.
    pub(in super::super) const ALL: [u64; 8] = [EPOCH, SEQUENCE, BASE, EXP, IAT, PART, ENTRIES, SESSION_KEYS];
}

/// Kinds of entries.
pub(super) mod kind {
    pub(in super::super) const SESSION: u64 = 0;
    pub(in super::super) const SUBJECT: u64 = 1;
    pub(in super::super) const KEY: u64 = 2;
    pub(in super::super) const ALL: u64 = 3;
}

/// The fields that all parts of a feed share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) position: Position,
    pub(super) base: Option<u64>,
    pub(super) expires_at: UnixTime,
    pub(super) issued_at: UnixTime,
    pub(super) parts: u64,
}

/// A part that a pinned feed key signed.
#[derive(Clone, PartialEq, Eq)]
pub struct FeedPart {
    head: Head,
    index: u64,
    /// The signed part, which the cache stores. The entries stay encoded, which
    /// takes half the memory of [`Entry`]s.
    bytes: Box<[u8]>,
    entries: Range<usize>,
    count: usize,
    session_keys: Vec<SessionKey>,
    lifetimes: Option<FeedLifetimes>,
}

impl FeedPart {
    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    /// The part's number, from 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The signed bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The session keys in this part.
    #[must_use]
    pub fn session_keys(&self) -> &[SessionKey] {
        &self.session_keys
    }

    /// The issuer's lifetimes, which only the first part may have.
    pub(super) const fn lifetimes(&self) -> Option<FeedLifetimes> {
        self.lifetimes
    }

    /// The number of entries in this part.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Returns whether it has no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The entries in this part.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let mut reader = Reader::new(&self.bytes[self.entries.clone()]);
        // They were checked when the part was read.
        (0..self.count).map_while(move |_| entry(&mut reader).ok())
    }
}

impl fmt::Debug for FeedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Head { position, parts, .. } = self.head;
        write!(f, "FeedPart({position}, {} of {parts}, {} entries)", self.index, self.count)
    }
}

/// A verified payload whose head was read.
pub(super) struct Payload<'a> {
    pub(super) head: Head,
    index: u64,
    fields: Fields<'a>,
}

impl<'a> Payload<'a> {
    pub(super) fn decode(payload: &'a [u8]) -> Result<Self, FeedError> {
        let mut fields = Fields::new(payload)?;
        let epoch = fields.uint(label::EPOCH)?;
        let sequence = fields.uint(label::SEQUENCE)?;
        let base = match fields.at(label::BASE)?.head()? {
            Item::Uint(base) if base <= sequence => Some(base),
            Item::Uint(_) => return Err(Malformed::ClaimRange.into()),
            Item::Simple(22) => None,
            _ => return Err(Malformed::ClaimType.into()),
        };
        let expires_at = time(fields.at(label::EXP)?)?;
        let issued_at = time(fields.at(label::IAT)?)?;
        if issued_at >= expires_at {
            return Err(Malformed::TimesOutOfOrder.into());
        }
        let reader = fields.at(label::PART)?;
        array_of(2, reader)?;
        let index = reader.uint_or(Malformed::ClaimType)?;
        let parts = reader.uint_or(Malformed::ClaimType)?;
        if index >= parts {
            return Err(Malformed::ClaimRange.into());
        }
        let position = Position { epoch, sequence };
        Ok(Self { head: Head { position, base, expires_at, issued_at, parts }, index, fields })
    }

    /// Reads the rest. `bytes` is the whole signed part.
    pub(super) fn read(self, bytes: &[u8]) -> Result<FeedPart, FeedError> {
        let Self { head, index, mut fields } = self;
        let reader = fields.at(label::ENTRIES)?;
        let count = reader.array_or(Malformed::ClaimType)?;
        let before = reader.remaining();
        // Every entry takes bytes, so the input bounds an announced count.
        for _ in 0..count {
            entry(reader)?;
        }
        let length = before - reader.remaining();
        let after = reader.remaining();

        let reader = fields.at(label::SESSION_KEYS)?;
        let keys = reader.array_or(Malformed::ClaimType)?;
        if keys > MAX_SESSION_KEYS {
            return Err(FeedError::TooManySessionKeys);
        }
        let session_keys = (0..keys).map(|_| session_key(reader)).collect::<Result<_, _>>()?;
        let lifetimes = fields.lifetimes()?;
        if lifetimes.is_some() && index > 0 {
            return Err(Malformed::UnknownClaim.into());
        }
        fields.finish()?;

        // In a COSE_Sign1, only the signature follows the payload.
        let end = bytes.len() - SIGNATURE_ITEM - after;
        Ok(FeedPart {
            head,
            index,
            bytes: bytes.into(),
            entries: end - length..end,
            count,
            session_keys,
            lifetimes,
        })
    }
}

/// A byte string of 64 bytes with its head of 2.
const SIGNATURE_ITEM: usize = 66;

/// A map that has exactly the fields of the format.
struct Fields<'a> {
    reader: Reader<'a>,
    order: KeyOrder<'a>,
    pairs: usize,
}

impl<'a> Fields<'a> {
    fn new(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let pairs = reader.map_or(Malformed::ClaimsNotMap)?;
        if pairs < label::ALL.len() {
            return Err(Malformed::MissingClaim);
        }
        Ok(Self { reader, order: KeyOrder::default(), pairs })
    }

    /// Returns the reader at the value of `label`, which must be next.
    fn at(&mut self, label: u64) -> Result<&mut Reader<'a>, Malformed> {
        let (found, encoded) = self.reader.spanned(|r| r.uint_or(Malformed::UnknownClaim))?;
        self.order.next(encoded)?;
        if found == label {
            Ok(&mut self.reader)
        } else if label::ALL.contains(&found) {
            Err(Malformed::MissingClaim)
        } else {
            Err(Malformed::UnknownClaim)
        }
    }

    fn uint(&mut self, label: u64) -> Result<u64, Malformed> {
        self.at(label)?.uint_or(Malformed::ClaimType)
    }

    /// Reads the last field, which may be missing.
    fn lifetimes(&mut self) -> Result<Option<FeedLifetimes>, Malformed> {
        if self.pairs == label::ALL.len() {
            return Ok(None);
        }
        let reader = self.at(label::LIFETIMES)?;
        if reader.array_or(Malformed::ClaimType)? != 4 {
            return Err(Malformed::ClaimRange);
        }
        let mut seconds = [0; 4];
        for field in &mut seconds {
            *field = reader.uint_or(Malformed::ClaimType)?;
        }
        FeedLifetimes::from_secs(seconds).map(Some).ok_or(Malformed::ClaimRange)
    }

    fn finish(self) -> Result<(), Malformed> {
        if self.pairs > label::ALL.len() + 1 {
            return Err(Malformed::UnknownClaim);
        }
        self.reader.finish()
    }
}

fn entry(reader: &mut Reader<'_>) -> Result<Entry, FeedError> {
    let length = reader.array_or(Malformed::ClaimType)?;
    if length == 0 {
        return Err(Malformed::ClaimType.into());
    }
    let kind = reader.uint_or(Malformed::ClaimType)?;
    let expected = match kind {
        kind::SESSION | kind::KEY | kind::ALL => 3,
        kind::SUBJECT => 4,
        _ => return Err(FeedError::UnknownEntry { kind }),
    };
    if length != expected {
        return Err(Malformed::ClaimType.into());
    }
    Ok(match kind {
        kind::SESSION => Entry::Session { sid: SessionId::from_bytes(bytes(reader)?), ends: time(reader)? },
        kind::SUBJECT => Entry::Subject {
            hash: SubjectHash::from_bytes(bytes(reader)?),
            up_to: time(reader)?,
            ends: time(reader)?,
        },
        kind::KEY => Entry::Key { kid: KeyId::from_bytes(bytes(reader)?), ends: time(reader)? },
        _ => Entry::All { up_to: time(reader)?, ends: time(reader)? },
    })
}

fn session_key(reader: &mut Reader<'_>) -> Result<SessionKey, FeedError> {
    array_of(5, reader)?;
    let key_id = KeyId::from_bytes(bytes(reader)?);
    let x = bytes(reader)?;
    let algorithm = match reader.head()? {
        Item::Nint(n) => i64::try_from(n).ok().and_then(|n| Algorithm::from_cose(-1 - n)),
        _ => return Err(Malformed::ClaimType.into()),
    };
    let not_before = time(reader)?;
    let not_after = time(reader)?;
    let algorithm = algorithm.ok_or(FeedError::BadSessionKey { key_id })?;
    let key = VerifyingKey::new(&x, algorithm).map_err(|_| FeedError::BadSessionKey { key_id })?;
    if key.id() != key_id {
        return Err(FeedError::BadSessionKey { key_id });
    }
    let retires = Some(not_after).filter(|at| *at < UnixTime::MAX);
    Ok(SessionKey::new(key.retiring(retires), not_before))
}

fn array_of(length: usize, reader: &mut Reader<'_>) -> Result<(), Malformed> {
    if reader.array_or(Malformed::ClaimType)? == length { Ok(()) } else { Err(Malformed::ClaimType) }
}

fn bytes<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], Malformed> {
    reader.bytes_or(Malformed::ClaimType)?.try_into().map_err(|_| Malformed::ClaimType)
}

fn time(reader: &mut Reader<'_>) -> Result<UnixTime, Malformed> {
    UnixTime::from_secs(reader.uint_or(Malformed::ClaimType)?).ok_or(Malformed::ClaimRange)
}
