//! The issuer's keys at run time. They are read again every few seconds, so
//! that a rotation takes effect without a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::error::ConfigError;
use crate::id::KeyId;
use crate::issuer::SigningKeys;
use crate::key::{KeyDir, KeyEntry, KeySet, KeyState, KeyUse, LiveKeys, SigningKey};
use crate::revocation::FeedKeys;
use crate::revocation::feed::SessionKey;
use crate::time::{Clock, UnixTime};

/// How often the directory is read again.
const EVERY: Duration = Duration::from_secs(2);

/// Time until every process on the directory knows a new key.
const SETTLE: Duration = Duration::from_secs(5);

/// The keys in a directory. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Keyring {
    path: Arc<PathBuf>,
    dir: Arc<ArcSwap<KeyDir>>,
    session_keys: LiveKeys,
}

impl Keyring {
    /// Reads the directory and checks that a key of each use can sign.
    pub(crate) fn open(path: PathBuf, now: UnixTime) -> Result<Self, ConfigError> {
        let dir = KeyDir::open(&path)?;
        let session_keys = usable(&dir, now)?;
        Ok(Self {
            path: Arc::new(path),
            dir: Arc::new(ArcSwap::from_pointee(dir)),
            session_keys: session_keys.into(),
        })
    }

    /// Returns the keys that sign or have signed tokens, newest first, without
    /// revoked ones.
    pub(crate) fn signing_keys(&self, revoked: &[KeyId], now: UnixTime) -> Result<SigningKeys, ConfigError> {
        let dir = self.dir.load();
        let mut entries: Vec<_> = dir
            .entries()
            .filter(|entry| entry.key.usage() == KeyUse::Session && !revoked.contains(&entry.key.id()))
            .filter(|entry| matches!(dir.state(entry, now), KeyState::Active | KeyState::Superseded))
            .collect();
        // Another process on the same directory may not know a new key yet. It
        // would then make a different token for the same generation. So a new
        // key comes first only after a while, or if there is no other.
        let settled = |entry: &&KeyEntry| entry.created.saturating_add(SETTLE) <= now;
        entries.sort_by_key(|entry| core::cmp::Reverse((settled(entry), entry.age())));
        let mut keys = entries.into_iter().map(|entry| entry.key.clone());
        let newest = keys.next().ok_or_else(|| {
            ConfigError::Key(format!(
                "every session key in {} was revoked; make another with: hallpass key rotate --now --dir {}",
                self.path.display(),
                self.path.display()
            ))
        })?;
        SigningKeys::new(newest, keys)
    }

    /// Returns the key that signs the feed.
    pub(crate) fn feed_key(&self, now: UnixTime) -> Result<SigningKey, ConfigError> {
        Ok(self.dir.load().signing_key(KeyUse::Feed, now)?.key.clone())
    }

    /// Returns since when the current key has signed; `None` if no key signs.
    pub(crate) fn signs_since(&self, usage: KeyUse, now: UnixTime) -> Option<UnixTime> {
        self.dir.load().signing_key(usage, now).ok().map(|entry| entry.activates)
    }

    /// Returns the public feed keys, for an edge that trusts on first use.
    pub(crate) fn feed_keys(&self, now: UnixTime) -> Result<FeedKeys, ConfigError> {
        // Not by a `KeySet`, which computes tables for fast verification: anybody
        // can request this.
        FeedKeys::new(self.dir.load().public_keys(KeyUse::Feed, now))
    }

    /// Returns the session keys as the feed carries them, future ones included.
    pub(crate) fn published(&self, now: UnixTime) -> Vec<SessionKey> {
        let dir = self.dir.load();
        dir.entries()
            .filter(|entry| entry.key.usage() == KeyUse::Session)
            .filter(|entry| dir.state(entry, now) != KeyState::Retired)
            .map(SessionKey::from)
            .collect()
    }

    /// Returns every key with its state: those that sign first, then by age.
    pub(crate) fn listing(&self, now: UnixTime) -> Vec<(KeyEntry, KeyState)> {
        let dir = self.dir.load();
        let mut keys: Vec<_> = dir.entries().map(|entry| (entry.clone(), dir.state(entry, now))).collect();
        keys.sort_by_key(|(entry, state)| {
            (entry.key.usage().as_str(), *state != KeyState::Active, core::cmp::Reverse(entry.activates))
        });
        keys
    }

    /// Returns the public session keys.
    pub(crate) const fn session_keys(&self) -> &LiveKeys {
        &self.session_keys
    }

    /// Reads the directory again, for ever.
    pub(crate) async fn keep_current(self, clock: impl Clock) {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            if let Err(error) = self.refresh(clock.now()) {
                // The keys that were read before stay in use.
                tracing::error!(%error, "the key directory can't be used as it is");
            }
        }
    }

    fn refresh(&self, now: UnixTime) -> Result<(), ConfigError> {
        let dir = KeyDir::open(&*self.path)?;
        let session_keys = usable(&dir, now)?;
        if session_keys != *self.session_keys.current() {
            tracing::info!(keys = session_keys.iter().len(), "session keys changed");
            self.session_keys.replace(session_keys);
        }
        self.dir.store(Arc::new(dir));
        Ok(())
    }
}

/// Returns the published session keys. Requires that a key of each use signs
/// and that no key is a published test key.
fn usable(dir: &KeyDir, now: UnixTime) -> Result<KeySet, ConfigError> {
    if let Some(entry) = dir.entries().find(|entry| entry.key.id().is_published_test_key()) {
        return Err(ConfigError::Key(format!(
            "{} is a published test key, which everybody can sign with; make your own with: hallpass key init",
            entry.key.id()
        )));
    }
    dir.signing_key(KeyUse::Feed, now)?;
    dir.signing_key(KeyUse::Session, now)?;
    dir.key_set(KeyUse::Session, now)
}
