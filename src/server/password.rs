//! Passwords: argon2id, off the async threads, a bounded number at a time.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
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
    working: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    /// Compared with when there is no such user, so that the answer takes as
    /// long as for one that there is.
    nobody: Arc<str>,
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
            working: Arc::new(Semaphore::new(cores)),
            admitted: Arc::new(Semaphore::new(cores * (QUEUE + 1))),
            nobody: Password::new("nobody has this password".to_owned()).hash()?.into(),
        })
    }

    /// A place among those whose passwords are checked, or wait for it.
    ///
    /// # Errors
    /// [`Busy`] if too many checks wait already.
    pub fn admit(&self) -> Result<Admitted, Busy> {
        Arc::clone(&self.admitted).try_acquire_owned().map(Admitted).map_err(|_| Busy)
    }

    /// Whether `password` is the one behind `hash`; false for no hash, after
    /// the same work.
    ///
    /// # Errors
    /// [`Busy`] if the process is ending.
    pub async fn check(
        &self,
        admitted: Admitted,
        password: Password,
        hash: Option<String>,
    ) -> Result<bool, Busy> {
        // A password that nobody can have costs nothing.
        if password.0.len() > MAX_BYTES {
            return Ok(false);
        }
        let working = Arc::clone(&self.working).acquire_owned().await.map_err(|_| Busy)?;
        let nobody = Arc::clone(&self.nobody);
        tokio::task::spawn_blocking(move || {
            // Compared even when the outcome is settled.
            let right = password.verifies(hash.as_deref().unwrap_or(&nobody)) & hash.is_some();
            // Not before the work is done, even if whoever asked has gone: else
            // clients that hang up would have as much memory at work as they like.
            drop((working, admitted));
            right
        })
        .await
        .map_err(|_| Busy)
    }
}

/// A place that [`PasswordChecker::admit`] gave.
#[derive(Debug)]
pub struct Admitted(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);
