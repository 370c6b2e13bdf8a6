//! The issuer's side: makes signed parts from entries and keys.

use crate::error::ConfigError;
use crate::key::{KeyUse, SigningKey};
use crate::revocation::list::kept_until;
use crate::revocation::{Entry, Position};
use crate::time::UnixTime;
use crate::wire::cbor::Writer;
use crate::wire::cose::{self, Header, Typ};

use super::part::{kind, label};
use super::{MAX_PART_BYTES, MAX_SESSION_KEYS, SessionKey};
use crate::revocation::FeedLifetimes;

/// Most bytes of a part besides entries and keys.
const OVERHEAD: usize = 256;

/// A feed to sign. With `base` `None` it is a snapshot, with an earlier
/// sequence the delta from there, with its own sequence and no entries a
/// re-signing.
#[derive(Clone, Debug)]
pub struct NewFeed<'a> {
    /// Where it takes a list.
    pub position: Position,
    /// The sequence that it starts from; `None` for a snapshot.
    pub base: Option<u64>,
    /// The time at which the entries were read: edges take the list for
    /// complete as of this second. No revocation that was acknowledged before
    /// it may be missing.
    pub issued_at: UnixTime,
    /// Until when an edge may receive it. A few minutes are enough: the edge's
    /// staleness bound also protects it from old feeds.
    pub expires_at: UnixTime,
    /// The session keys, at least one; every feed carries all of them.
    pub session_keys: &'a [SessionKey],
    /// The issuer's lifetimes, for edges that are not configured.
    pub lifetimes: Option<FeedLifetimes>,
}

impl NewFeed<'_> {
    /// Signs it with a feed key. Returns at least one part, each of at most
    /// [`MAX_PART_BYTES`]. Pass the entries up to the position in any order,
    /// for a delta those after its base. Ended entries are left out.
    ///
    /// # Errors
    /// [`ConfigError::KeyUse`] for a session key, or for session keys with the
    /// feed key among them; [`ConfigError::NoKeys`] without session keys;
    /// [`ConfigError::Builder`] for a feed that every edge would refuse.
    pub fn sign(
        &self,
        key: &SigningKey,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Vec<Vec<u8>>, ConfigError> {
        self.sign_in_parts(key, entries, MAX_PART_BYTES)
    }

    /// As [`NewFeed::sign`], with parts of at most `most` bytes.
    pub(super) fn sign_in_parts(
        &self,
        key: &SigningKey,
        entries: impl IntoIterator<Item = Entry>,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, ConfigError> {
        self.check(key)?;
        let keys = self.encode_session_keys();
        let most = most.min(MAX_PART_BYTES).saturating_sub(OVERHEAD + keys.len()).max(1);
        let chunks = encode_entries(self.in_order(entries), most);
        let header = Header::encode(key.algorithm(), key.id(), Typ::Feed);
        let sign = |(index, (entries, count)): (usize, &(Vec<u8>, usize))| {
            // The keys and the lifetimes are in the first part.
            let keys = if index == 0 { &keys[..] } else { EMPTY_ARRAY };
            let payload = self.payload(index, chunks.len(), entries, *count, keys);
            cose::encode(&header, &payload, |message| key.sign(message))
        };
        Ok(chunks.iter().enumerate().map(sign).collect())
    }

    /// The fields and the revoked entries determine every part's content.
    /// Otherwise somebody on the way could mix the parts of two signings in one
    /// second, and drop an entry that is in the first part of one and the
    /// second part of the other.
    fn in_order(&self, entries: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
        let is_kept = |entry: &Entry| kept_until(entry.ends()) >= self.issued_at;
        let mut entries: Vec<_> = entries.into_iter().filter(is_kept).collect();
        entries.sort_unstable();
        entries.dedup();
        entries
    }

    fn check(&self, key: &SigningKey) -> Result<(), ConfigError> {
        if key.usage() != KeyUse::Feed {
            return Err(ConfigError::KeyUse { key: key.id(), found: key.usage(), wanted: KeyUse::Feed });
        }
        if self.session_keys.iter().any(|session| session.verifying_key().id() == key.id()) {
            return Err(ConfigError::KeyUse { key: key.id(), found: KeyUse::Feed, wanted: KeyUse::Session });
        }
        if self.session_keys.is_empty() {
            return Err(ConfigError::NoKeys);
        }
        if self.session_keys.len() > MAX_SESSION_KEYS {
            return Err(ConfigError::Builder(
                "a feed carries at most 256 session keys; retire some with 'hallpass key retire'",
            ));
        }
        if self.issued_at >= self.expires_at {
            return Err(ConfigError::Builder("a feed expires after it is issued"));
        }
        if self.lifetimes.is_some_and(|given| FeedLifetimes::from_secs(given.as_secs()) != Some(given)) {
            return Err(ConfigError::Builder("a feed's lifetimes are whole seconds and in order"));
        }
        if self.base.is_some_and(|base| base > self.position.sequence) {
            return Err(ConfigError::Builder("a delta starts at the sequence it leads to, or before"));
        }
        Ok(())
    }

    fn encode_session_keys(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.array(self.session_keys.len());
        for session in self.session_keys {
            let key = session.verifying_key();
            w.array(5).bytes(key.id().as_bytes()).bytes(key.as_bytes()).int(key.algorithm().cose());
            w.uint(session.not_before().as_secs());
            w.uint(key.retires().unwrap_or(UnixTime::MAX).as_secs());
        }
        w.into_vec()
    }

    fn payload(&self, index: usize, parts: usize, entries: &[u8], count: usize, keys: &[u8]) -> Vec<u8> {
        let mut w = Writer::with_capacity(OVERHEAD + entries.len() + keys.len());
        let lifetimes = self.lifetimes.filter(|_| index == 0);
        w.map(label::ALL.len() + usize::from(lifetimes.is_some()));
        w.uint(label::EPOCH).uint(self.position.epoch);
        w.uint(label::SEQUENCE).uint(self.position.sequence);
        w.uint(label::BASE);
        match self.base {
            Some(base) => w.uint(base),
            None => w.null(),
        };
        w.uint(label::EXP).uint(self.expires_at.as_secs());
        w.uint(label::IAT).uint(self.issued_at.as_secs());
        w.uint(label::PART).array(2).uint(index as u64).uint(parts as u64);
        w.uint(label::ENTRIES).array(count).raw(entries);
        w.uint(label::SESSION_KEYS).raw(keys);
        if let Some(lifetimes) = lifetimes {
            w.uint(label::LIFETIMES).array(4);
            for secs in lifetimes.as_secs() {
                w.uint(secs);
            }
        }
        w.into_vec()
    }
}

const EMPTY_ARRAY: &[u8] = b"\x80";

/// Splits the entries into chunks of at most `most` bytes, each with its number
/// of entries. There is at least one chunk; further chunks have at least one
/// entry.
fn encode_entries(entries: impl IntoIterator<Item = Entry>, most: usize) -> Vec<(Vec<u8>, usize)> {
    let mut chunks = Vec::new();
    let (mut chunk, mut count) = (Vec::new(), 0);
    for entry in entries {
        let mut w = Writer::with_capacity(48);
        encode_entry(&mut w, &entry);
        let encoded = w.into_vec();
        if count > 0 && chunk.len() + encoded.len() > most {
            chunks.push((core::mem::take(&mut chunk), core::mem::take(&mut count)));
        }
        chunk.extend_from_slice(&encoded);
        count += 1;
    }
    if count > 0 || chunks.is_empty() {
        chunks.push((chunk, count));
    }
    chunks
}

fn encode_entry(w: &mut Writer, entry: &Entry) {
    match entry {
        Entry::Session { sid, .. } => w.array(3).uint(kind::SESSION).bytes(sid.as_bytes()),
        Entry::Subject { hash, up_to, .. } => {
            w.array(4).uint(kind::SUBJECT).bytes(hash.as_bytes()).uint(up_to.as_secs())
        }
        Entry::Key { kid, .. } => w.array(3).uint(kind::KEY).bytes(kid.as_bytes()),
        Entry::All { up_to, .. } => w.array(3).uint(kind::ALL).uint(up_to.as_secs()),
    };
    w.uint(entry.ends().as_secs());
}
