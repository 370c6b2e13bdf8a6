//! The last feed on disk. It stores the signed parts, so that they are verified
//! again when they are read.
//!
//! Two files, since a re-signing every few seconds should not write a large
//! snapshot again: the last snapshot, and the deltas that were applied after
//! it. Each write is atomic. Deltas that do not follow from the snapshot,
//! because the process ended between the two writes, are ignored.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::ConfigError;
use crate::files::{self, Readers};
use crate::key::LiveKeys;
use crate::key::exchange::MAX_KEY_SET_BYTES;
use crate::revocation::feed::kept_feeds;
use crate::revocation::{Feed, FeedError, FeedKeys, OutOfOrder, RevocationList};
use crate::time::UnixTime;

const SNAPSHOT: &str = "feed-snapshot.cborseq";
const DELTAS: &str = "feed-deltas.cborseq";
const FEED_KEYS: &str = "feed-keys.cbor";
/// Deltas are collected up to this many bytes, or the length of the snapshot.
const DELTAS_AT_LEAST: usize = 1024 * 1024;

pub(super) struct Cache {
    dir: PathBuf,
    most: usize,
    /// Not written yet.
    snapshot: Option<Arc<Feed>>,
    snapshot_len: usize,
    deltas: Vec<Arc<Feed>>,
    deltas_len: usize,
    changed: bool,
    writer: Arc<Mutex<Writer>>,
}

/// The pending writes, and whether a write is under way.
#[derive(Default)]
struct Writer {
    next: Option<Kept>,
    at_work: bool,
}

/// The content of both files; the snapshot only if it changed.
struct Kept {
    snapshot: Option<Arc<Feed>>,
    deltas: Vec<Arc<Feed>>,
}

impl Cache {
    pub(super) fn open(dir: PathBuf, most: usize) -> Result<Self, ConfigError> {
        files::create_private_dir(&dir)?;
        files::check_unshared_dir(&dir)?;
        Ok(Self {
            dir,
            most,
            snapshot: None,
            snapshot_len: 0,
            deltas: Vec::new(),
            deltas_len: 0,
            changed: false,
            writer: Arc::default(),
        })
    }

    /// Applies the stored feed as far as it verifies. The edge then has the
    /// state that it had before the restart.
    pub(super) fn load(
        &mut self,
        trusted: &FeedKeys,
        list: &RevocationList,
        keys: &LiveKeys,
        now: UnixTime,
    ) -> Result<(), ConfigError> {
        let file = self.dir.join(SNAPSHOT);
        let unusable = |why: FeedError| files::error(&file, format!("{why}; it is not used"));
        let Some(bytes) = self.read(SNAPSHOT, self.most)? else { return Ok(()) };
        let mut snapshot = kept_feeds(trusted, &bytes, now);
        if let Some(feed) = snapshot.next() {
            let feed = feed.map_err(unusable)?;
            feed.apply(list, keys, now).map_err(unusable)?;
            self.snapshot_len = bytes.len();
        }
        let Some(bytes) = self.read(DELTAS, self.most)? else { return Ok(()) };
        for feed in kept_feeds(trusted, &bytes, now) {
            // A delta that is incomplete or does not verify ends the chain;
            // those before it stay applied.
            let Ok(feed) = feed else { break };
            match feed.apply(list, keys, now) {
                Ok(()) => self.push(Arc::new(feed)),
                Err(FeedError::OutOfOrder(OutOfOrder::Backwards { .. }) | FeedError::Older { .. }) => {}
                Err(_) => break,
            }
        }
        self.changed = false;
        Ok(())
    }

    /// Stores an applied feed. Returns true if there are so many deltas that a
    /// new snapshot should be fetched.
    pub(super) fn keep(&mut self, feed: &Arc<Feed>) -> bool {
        if feed.base().is_none() {
            self.snapshot_len = feed.encoded_len();
            self.snapshot = Some(Arc::clone(feed));
            self.deltas.clear();
            self.deltas_len = 0;
        } else {
            self.push(Arc::clone(feed));
        }
        self.changed = true;
        self.deltas_len > self.snapshot_len.max(DELTAS_AT_LEAST)
    }

    fn push(&mut self, feed: Arc<Feed>) {
        // Of consecutive re-signings, only the last is needed.
        let says_less = |last: &mut Arc<Feed>| last.is_empty() && last.position() == feed.position();
        if let Some(last) = self.deltas.pop_if(says_less) {
            self.deltas_len -= last.encoded_len();
        }
        self.deltas_len += feed.encoded_len();
        self.deltas.push(feed);
    }

    /// Writes changes in the background, since a slow disk must not delay a
    /// revocation. Changes during a write are written right after it.
    pub(super) fn write(&mut self) {
        if !core::mem::take(&mut self.changed) {
            return;
        }
        let mut writer = locked(&self.writer);
        let unwritten = writer.next.take().and_then(|kept| kept.snapshot);
        let snapshot = self.snapshot.take().or(unwritten);
        writer.next = Some(Kept { snapshot, deltas: self.deltas.clone() });
        if !core::mem::replace(&mut writer.at_work, true) {
            let (dir, writer) = (self.dir.clone(), Arc::clone(&self.writer));
            tokio::task::spawn_blocking(move || write_all(&dir, &writer));
        }
    }

    /// Returns the feed keys that were pinned on first use.
    pub(super) fn pinned(&self) -> Result<Option<FeedKeys>, ConfigError> {
        self.read(FEED_KEYS, MAX_KEY_SET_BYTES)?.map(|bytes| FeedKeys::from_bytes(&bytes)).transpose()
    }

    /// Pins feed keys for this start and all later ones.
    pub(super) fn pin(&self, keys: &FeedKeys) -> Result<(), ConfigError> {
        files::write(&self.dir.join(FEED_KEYS), &keys.to_cose(), Readers::Owner)
    }

    fn read(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>, ConfigError> {
        let path = self.dir.join(name);
        if path.exists() {
            files::check_unshared(&path)?;
        }
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(files::error(&path, why)),
        };
        let mut bytes = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|why| files::error(&path, why))?;
        if bytes.len() > most {
            return Err(files::error(&path, format!("longer than {most} bytes")));
        }
        Ok(Some(bytes))
    }
}

/// Writes until nothing is pending. After a failure, the next feed tries again.
fn write_all(dir: &Path, writer: &Mutex<Writer>) {
    loop {
        let kept = {
            let mut writer = locked(writer);
            let Some(kept) = writer.next.take() else {
                writer.at_work = false;
                return;
            };
            kept
        };
        if let Err(error) = kept.write(dir) {
            tracing::warn!(%error, "the revocation feed can't be kept on disk");
            let mut writer = locked(writer);
            if let Some(next) = &mut writer.next {
                next.snapshot = next.snapshot.take().or(kept.snapshot);
            } else {
                writer.next = Some(kept);
                writer.at_work = false;
                return;
            }
        }
    }
}

impl Kept {
    fn write(&self, dir: &Path) -> Result<(), ConfigError> {
        if let Some(snapshot) = &self.snapshot {
            files::write(&dir.join(SNAPSHOT), &snapshot.to_bytes(), Readers::Owner)?;
        }
        let deltas: Vec<_> = self.deltas.iter().map(|feed| feed.to_bytes()).collect();
        files::write(&dir.join(DELTAS), &deltas.concat(), Readers::Owner)
    }
}

fn locked(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}
