//! Passwords: argon2id, off the async threads, a bounded number at a time.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Shortest password, in characters (NIST SP 800-63B-4 §3.1.1.2: at least 8
/// where it is not the only factor, 15 where it is; which one applies is the
/// operator's to say).
pub const MIN_CHARACTERS: usize = 8;
/// Longest password, in bytes. Far over the 64 characters that NIST asks for,
/// and short enough that hashing it costs nothing besides the argon2 work.
pub const MAX_BYTES: usize = 1024;

/// A password as a person gave it. Erased when dropped, never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a password as it was typed; any text may turn out to be wrong.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// # Errors
    /// A sentence that says which bound a new password misses.
    pub fn check_length(&self) -> Result<(), String> {
        if self.0.chars().count() < MIN_CHARACTERS {
            Err(format!("a password has at least {MIN_CHARACTERS} characters"))
        } else if self.0.len() > MAX_BYTES {
            Err(format!("a password has at most {MAX_BYTES} bytes"))
        } else {
            Ok(())
        }
    }

    /// The argon2id hash in PHC string format, with a new random salt and the
    /// crate's parameters (19 MiB, 2 passes, 1 lane: the OWASP Password Storage
    /// Cheat Sheet's first choice for argon2id).
    ///
    /// # Errors
    /// What argon2 says; only for want of randomness or memory.
    pub fn hash(&self) -> Result<String, String> {
        Argon2::default()
            .hash_password(self.0.as_bytes())
            .map(|hash| hash.to_string())
            .map_err(|error| error.to_string())
    }

    fn verifies(&self, hash: &str) -> bool {
        PasswordHash::new(hash)
            .is_ok_and(|hash| Argon2::default().verify_password(self.0.as_bytes(), &hash).is_ok())
    }
}

impl<'de> serde::Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl core::fmt::Debug for Password {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Password(not shown)")
    }
}

/// Every core and as much of the queue is taken: 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Verifies passwords without costing the service its other answers: one hash
/// a core at a time, a short queue, the rest refused.
#[derive(Clone, Debug)]
pub struct PasswordChecker {
    cores: usize,
    working: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    /// Compared with when there is no such user, so that the answer takes as
    /// long as for one that there is.
    nobody: Arc<str>,
}

/// How many passwords are being hashed and wait for it, and how many may.
pub(crate) struct PasswordLoad {
    pub(crate) working: usize,
    pub(crate) most_working: usize,
    pub(crate) waiting: usize,
    pub(crate) most_waiting: usize,
}

/// How many checks may wait for each one at work: at some 30 ms each, waiting
/// takes about half a second at most.
const QUEUE: usize = 16;

impl PasswordChecker {
    /// # Errors
    /// What argon2 says; only for want of randomness or memory.
    pub fn new() -> Result<Self, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            cores,
            working: Arc::new(Semaphore::new(cores)),
            admitted: Arc::new(Semaphore::new(cores * (QUEUE + 1))),
            nobody: Password::new("nobody has this password".to_owned()).hash()?.into(),
        })
    }

    /// How busy it is.
    pub(crate) fn load(&self) -> PasswordLoad {
        let most_working = self.cores;
        let working = most_working.saturating_sub(self.working.available_permits());
        let most_admitted = most_working * (QUEUE + 1);
        let admitted = most_admitted.saturating_sub(self.admitted.available_permits());
        PasswordLoad {
            working,
            most_working,
            waiting: admitted.saturating_sub(working),
            most_waiting: most_admitted - most_working,
        }
    }

    /// Whether `password` is the one behind `hash`; false for no hash, after
    /// the same work.
    ///
    /// # Errors
    /// [`Busy`] if too many checks wait already.
    pub async fn check(&self, password: Password, hash: Option<String>) -> Result<bool, Busy> {
        // A password that nobody can have costs nothing.
        if password.0.len() > MAX_BYTES {
            return Ok(false);
        }
        let _admitted = self.admitted.try_acquire().map_err(|_| Busy)?;
        let _working = self.working.acquire().await.map_err(|_| Busy)?;
        let nobody = Arc::clone(&self.nobody);
        // Compared even when the outcome is settled.
        tokio::task::spawn_blocking(move || {
            password.verifies(hash.as_deref().unwrap_or(&nobody)) & hash.is_some()
        })
        .await
        .map_err(|_| Busy)
    }
}
