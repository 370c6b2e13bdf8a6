//! The directory of key files: `KID.pem` (PKCS#8, mode 0600) and `KID.json` with the
//! key's use, algorithm and times.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::files::{self, Readers, error};
use crate::id::KeyId;
use crate::key::{Algorithm, KeySet, KeyUse, SigningKey, VerifyingKey};
use crate::time::UnixTime;

/// How long a key is published before it signs, so that every edge has it.
pub const PUBLISH_AHEAD: Duration = Duration::from_mins(5);

/// Longest key file, in bytes.
const MAX_FILE: u64 = 16 * 1024;

/// When the successor of a key begins to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// Five minutes later, when every edge has read it.
    Announced,
    /// At once: after a theft. Edges refuse its tokens until they have read it.
    Immediate,
}

/// The state of a key at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyState {
    /// Published; does not sign yet.
    Pending,
    /// Signs.
    Active,
    /// A newer key signs; tokens of this one are accepted.
    Superseded,
    /// No token of it is accepted.
    Retired,
}

/// A key file, read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyEntry {
    /// The key.
    pub key: SigningKey,
    /// When it was made.
    pub created: UnixTime,
    /// When it starts to sign.
    pub activates: UnixTime,
    /// When its tokens stop being accepted.
    pub retires: Option<UnixTime>,
}

/// The contents of `KID.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sidecar {
    #[serde(rename = "use")]
    usage: String,
    alg: String,
    created: String,
    activates: String,
    retires: Option<String>,
}

/// A directory of key files: `KID.pem` with the private key and `KID.json` with
/// its use and times.
///
/// ```
/// use hallpass::key::Activation;
/// use hallpass::{Algorithm, Clock, KeyDir, KeyUse, SystemClock};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("keys");
/// let now = SystemClock.now();
/// let mut keys = KeyDir::create(&path)?;
/// let first = keys.add(KeyUse::Session, Algorithm::EdDsa, now, now)?;
/// let second = keys.rotate(KeyUse::Session, now, Activation::Announced)?;
/// assert_eq!(keys.signing_key(KeyUse::Session, now)?.key.id(), first);
/// assert!(keys.key_set(KeyUse::Session, now)?.get(second, now).is_some(), "published already");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct KeyDir {
    path: PathBuf,
    entries: BTreeMap<KeyId, KeyEntry>,
}

impl KeyDir {
    /// Reads every key in the directory.
    ///
    /// # Errors
    /// [`ConfigError::OpenToOthers`] and [`ConfigError::ForeignOwner`] if somebody
    /// else could change the directory or a file in it. [`ConfigError::File`] for
    /// a directory that isn't there, a key file that others can read, has no `.json` beside it, or holds something else.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let path = path.into();
        let listing = std::fs::read_dir(&path).map_err(|why| {
            error(
                &path,
                format!(
                    "can't read the key directory ({why}); make one with: hallpass key init --dir {}",
                    path.display()
                ),
            )
        })?;
        files::check_unshared_dir(&path)?;
        let mut entries = BTreeMap::new();
        for file in listing {
            let file = file.map_err(|why| error(&path, why))?.path();
            if file.extension().is_some_and(|extension| extension == "pem") {
                let entry = KeyEntry::read(&file)?;
                entries.insert(entry.key.id(), entry);
            }
        }
        Ok(Self { path, entries })
    }

    /// Makes the directory (mode 0700) if it isn't there, and reads it.
    ///
    /// # Errors
    /// As [`KeyDir::open`].
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let path = path.into();
        files::create_private_dir(&path)?;
        Self::open(path)
    }

    /// Returns the directory's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the keys, ordered by id.
    pub fn entries(&self) -> impl Iterator<Item = &KeyEntry> {
        self.entries.values()
    }

    /// Returns the key that signs at `now`: the one activated last.
    ///
    /// # Errors
    /// [`ConfigError::Key`] if no key of this use is active.
    pub fn signing_key(&self, usage: KeyUse, now: UnixTime) -> Result<&KeyEntry, ConfigError> {
        self.entries
            .values()
            .filter(|entry| entry.key.usage() == usage && entry.is_active(now))
            .max_by_key(|entry| entry.age())
            .ok_or_else(|| self.no_key(usage))
    }

    /// Returns the key's state at `now`.
    #[must_use]
    pub fn state(&self, entry: &KeyEntry, now: UnixTime) -> KeyState {
        if entry.has_retired(now) {
            KeyState::Retired
        } else if now < entry.activates {
            KeyState::Pending
        } else {
            match self.signing_key(entry.key.usage(), now) {
                Ok(signing) if signing.key.id() == entry.key.id() => KeyState::Active,
                _ => KeyState::Superseded,
            }
        }
    }

    /// Returns the public keys of this use that have not retired by `now`.
    ///
    /// # Errors
    /// [`ConfigError::Key`] if there are none.
    pub fn key_set(&self, usage: KeyUse, now: UnixTime) -> Result<KeySet, ConfigError> {
        KeySet::new(self.public_keys(usage, now)).map_err(|error| match error {
            ConfigError::NoKeys => self.no_key(usage),
            other => other,
        })
    }

    /// Iterates over the public keys of this use that have not retired.
    pub(crate) fn public_keys(&self, usage: KeyUse, now: UnixTime) -> impl Iterator<Item = VerifyingKey> {
        let live = move |entry: &&KeyEntry| entry.key.usage() == usage && !entry.has_retired(now);
        self.entries.values().filter(live).map(KeyEntry::public)
    }

    fn no_key(&self, usage: KeyUse) -> ConfigError {
        ConfigError::Key(format!(
            "there is no active {usage} key in {}; make one with: hallpass key new --use {usage} --dir {}",
            self.path.display(),
            self.path.display()
        ))
    }

    /// Makes and writes a key that signs from `activates` on.
    ///
    /// # Errors
    /// [`ConfigError::File`] if it can't be written.
    pub fn add(
        &mut self,
        usage: KeyUse,
        algorithm: Algorithm,
        now: UnixTime,
        activates: UnixTime,
    ) -> Result<KeyId, ConfigError> {
        let key = SigningKey::generate(usage, algorithm)?;
        let entry = KeyEntry { key, created: now, activates, retires: None };
        // Write the sidecar first: a key exists once its PEM file exists.
        entry.write_sidecar(&self.path)?;
        let pem = self.path.join(format!("{}.pem", entry.key.id()));
        files::write(&pem, entry.key.to_pkcs8_pem()?.as_bytes(), Readers::Owner)?;
        let id = entry.key.id();
        self.entries.insert(id, entry);
        Ok(id)
    }

    /// Makes the successor of the key that signs, of the same algorithm, and
    /// publishes it at once.
    ///
    /// # Errors
    /// [`ConfigError::Key`] if there is none to succeed.
    pub fn rotate(
        &mut self,
        usage: KeyUse,
        now: UnixTime,
        activation: Activation,
    ) -> Result<KeyId, ConfigError> {
        let algorithm = self.signing_key(usage, now)?.key.algorithm();
        let activates = match activation {
            Activation::Announced => now.saturating_add(PUBLISH_AHEAD),
            Activation::Immediate => now,
        };
        self.add(usage, algorithm, now, activates)
    }

    /// Retires a key: from `at` on its tokens are refused.
    ///
    /// # Errors
    /// [`ConfigError::Key`] if there is no such key, or if no other key could sign.
    pub fn retire(&mut self, id: KeyId, at: UnixTime) -> Result<(), ConfigError> {
        let entry = self.entries.get(&id).ok_or_else(|| {
            ConfigError::Key(format!(
                "there is no key {id} in {}; see: hallpass key list",
                self.path.display()
            ))
        })?;
        let usage = entry.key.usage();
        if !self.entries.values().any(|e| e.key.id() != id && e.key.usage() == usage && e.is_active(at)) {
            return Err(ConfigError::Key(format!(
                "{id} is the only {usage} key that signs then; first run: hallpass key rotate --now --use {usage} --dir {}",
                self.path.display()
            )));
        }
        let entry = KeyEntry { retires: Some(at), ..entry.clone() };
        entry.write_sidecar(&self.path)?;
        self.entries.insert(id, entry);
        Ok(())
    }
}

impl KeyEntry {
    fn read(pem: &Path) -> Result<Self, ConfigError> {
        let path = pem.with_extension("json");
        let text = std::fs::read(&path).map_err(|why| {
            error(
                &path,
                format!("can't be read ({why}); each KID.pem needs the KID.json that was written with it"),
            )
        })?;
        files::check_unshared(&path)?;
        let sidecar: Sidecar = serde_json::from_slice(&text).map_err(|why| error(&path, why))?;
        let usage = match sidecar.usage.as_str() {
            "session" => KeyUse::Session,
            "feed" => KeyUse::Feed,
            other => {
                return Err(error(&path, format!("use is {other:?}, and must be \"session\" or \"feed\"")));
            }
        };
        let algorithm = Algorithm::from_jose(&sidecar.alg).ok_or_else(|| {
            error(&path, format!("alg is {:?}, and must be \"EdDSA\" or \"Ed25519\"", sidecar.alg))
        })?;
        let time = |name: &str, text: &str| {
            UnixTime::parse_rfc3339(text).ok_or_else(|| {
                error(&path, format!("{name} is {text:?}, and must be like 2026-01-31T12:00:00Z"))
            })
        };
        let secret = files::read_secret(pem, MAX_FILE)?;
        files::check_unshared(pem)?;
        let key = SigningKey::from_pkcs8_pem(&secret, usage, algorithm).map_err(|why| error(pem, why))?;
        let id = key.id().to_string();
        if pem.file_stem().and_then(|stem| stem.to_str()) != Some(id.as_str()) {
            return Err(error(pem, format!("this file holds the key {id}, and must be named {id}.pem")));
        }
        Ok(Self {
            key,
            created: time("created", &sidecar.created)?,
            activates: time("activates", &sidecar.activates)?,
            retires: sidecar.retires.as_deref().map(|text| time("retires", text)).transpose()?,
        })
    }

    fn write_sidecar(&self, dir: &Path) -> Result<(), ConfigError> {
        let sidecar = Sidecar {
            usage: self.key.usage().to_string(),
            alg: self.key.algorithm().to_string(),
            created: self.created.to_string(),
            activates: self.activates.to_string(),
            retires: self.retires.map(|at| at.to_string()),
        };
        let path = dir.join(format!("{}.json", self.key.id()));
        let mut text = serde_json::to_string_pretty(&sidecar).map_err(|why| error(&path, why))?;
        text.push('\n');
        files::write(&path, text.as_bytes(), Readers::Everybody)
    }

    fn public(&self) -> VerifyingKey {
        self.key.verifying_key().clone().retiring(self.retires)
    }

    fn has_retired(&self, now: UnixTime) -> bool {
        self.retires.is_some_and(|retires| retires <= now)
    }

    fn is_active(&self, now: UnixTime) -> bool {
        self.activates <= now && !self.has_retired(now)
    }

    /// Newest last; ties within one second are ordered by id.
    pub(crate) fn age(&self) -> (UnixTime, UnixTime, KeyId) {
        (self.activates, self.created, self.key.id())
    }
}
