//! Passwords: argon2id, off the async threads, a bounded number at a time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher, Version};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

/// Shortest password, in characters. NIST SP 800-63B-4 §3.1.1.2 requires 8 as
/// one of several factors, and 15 as the only one. The operator decides which
/// applies.
pub const MIN_CHARACTERS: usize = 8;
/// Longest password, in bytes. Far over the 64 characters that NIST requires,
/// yet short enough that argon2 dominates the cost.
pub const MAX_BYTES: usize = 1024;

/// A password as a person entered it. Erased when dropped, never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Wraps a password as it was typed. Any text is accepted.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Checks a new password's length.
    ///
    /// # Errors
    /// A sentence that names the bound that it misses.
    pub fn check_length(&self) -> Result<(), String> {
        if self.0.chars().count() < MIN_CHARACTERS {
            Err(format!("a password has at least {MIN_CHARACTERS} characters"))
        } else if self.0.len() > MAX_BYTES {
            Err(format!("a password has at most {MAX_BYTES} bytes"))
        } else {
            Ok(())
        }
    }

    /// Returns the argon2id hash in PHC string format, with a new random salt.
    /// The parameters are the crate's (19 MiB, 2 passes, 1 lane), the first
    /// choice of the OWASP Password Storage Cheat Sheet for argon2id.
    ///
    /// # Errors
    /// The message of argon2, only for lack of randomness or memory.
    pub fn hash(&self) -> Result<String, String> {
        Argon2::default()
            .hash_password(self.0.as_bytes())
            .map(|hash| hash.to_string())
            .map_err(|error| error.to_string())
    }

    /// Returns whether this is the password of a PHC string. Computes in
    /// `memory`, which grows to what the string's parameters need.
    fn verifies(&self, hash: &str, memory: &mut Vec<Block>) -> bool {
        let Ok(hash) = PasswordHash::new(hash) else { return false };
        let (Some(salt), Some(wanted)) = (&hash.salt, &hash.hash) else { return false };
        let Ok(algorithm) = Algorithm::try_from(hash.algorithm.as_str()) else { return false };
        let Ok(version) = hash.version.map_or(Ok(Version::default()), Version::try_from) else {
            return false;
        };
        let Ok(params) = Params::try_from(&hash) else { return false };
        let blocks = params.block_count();
        if memory.len() < blocks {
            memory.reserve_exact(blocks - memory.len());
            memory.resize(blocks, Block::new());
        }
        let mut computed = Zeroizing::new([0; Output::MAX_LENGTH]);
        let computed = &mut computed[..wanted.len()];
        Argon2::new(algorithm, version, params)
            .hash_password_into_with_memory(self.0.as_bytes(), salt, computed, &mut memory[..blocks])
            .is_ok_and(|()| bool::from(computed.ct_eq(wanted.as_bytes())))
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

/// Every core is busy and the queue is full: 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Verifies passwords while the service stays responsive: one hash per core at
/// a time, a short queue, and the rest is refused.
#[derive(Clone, Debug)]
pub struct PasswordChecker {
    cores: usize,
    working: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    /// Memory for hashing, reused. If it were freed, the allocator would keep
    /// it for the thread that freed it, and there are many threads.
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
    /// How many admitted checks each network has.
    networks: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most_of_network: usize,
    /// The hash to compare with for an unknown user, so that the answer takes
    /// as long as for a known one.
    nobody: Arc<str>,
}

/// One network gets at most this fraction of all places, so that others find
/// one.
const SHARE: usize = 4;
/// How many passwords are being hashed and are waiting, and the most of each.
pub(crate) struct PasswordLoad {
    pub(crate) working: usize,
    pub(crate) most_working: usize,
    pub(crate) waiting: usize,
    pub(crate) most_waiting: usize,
}

/// How many checks may wait for each one in progress. At some 30 ms each, the
/// wait is about half a second at most.
const QUEUE: usize = 16;

impl PasswordChecker {
    /// Sets up a checker that hashes on every core.
    ///
    /// # Errors
    /// The message of argon2, only for lack of randomness or memory.
    pub fn new() -> Result<Self, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            cores,
            working: Arc::new(Semaphore::new(cores)),
            admitted: Arc::new(Semaphore::new(cores * (QUEUE + 1))),
            memory: Arc::default(),
            networks: Arc::default(),
            most_of_network: cores * (QUEUE + 1) / SHARE,
            nobody: Password::new("nobody has this password".to_owned()).hash()?.into(),
        })
    }

    /// Takes a place for a password that is to be checked.
    ///
    /// # Errors
    /// [`Busy`] if too many checks wait already, in all or from this network.
    pub fn admit(&self, network: IpAddr) -> Result<Admitted, Busy> {
        let permit = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| Busy)?;
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let count = networks.entry(network).or_default();
        if *count == self.most_of_network {
            return Err(Busy);
        }
        *count += 1;
        Ok(Admitted { _permit: permit, network, networks: Arc::clone(&self.networks) })
    }

    /// Returns the current load.
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

    /// Returns whether `password` matches `hash`. Without a hash, returns false
    /// after the same work.
    ///
    /// # Errors
    /// [`Busy`] if the process is ending.
    pub async fn check(
        &self,
        admitted: Admitted,
        password: Password,
        hash: Option<String>,
    ) -> Result<bool, Busy> {
        // No password is that long, so this costs no work.
        if password.0.len() > MAX_BYTES {
            return Ok(false);
        }
        let working = Arc::clone(&self.working).acquire_owned().await.map_err(|_| Busy)?;
        let nobody = Arc::clone(&self.nobody);
        let memories = Arc::clone(&self.memory);
        tokio::task::spawn_blocking(move || {
            let lock = || memories.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = lock().pop().unwrap_or_default();
            // Compared even if the outcome is already known.
            let right = password.verifies(hash.as_deref().unwrap_or(&nobody), &mut memory) & hash.is_some();
            lock().push(memory);
            // Held until the work is done, even if the caller has gone.
            // Otherwise clients that hang up could make memory use unbounded.
            drop((working, admitted));
            right
        })
        .await
        .map_err(|_| Busy)
    }
}

/// A place from [`PasswordChecker::admit`].
#[derive(Debug)]
pub struct Admitted {
    _permit: OwnedSemaphorePermit,
    network: IpAddr,
    networks: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = networks.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                networks.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_verifies_against_its_own_hash_in_memory_that_is_used_again() {
        let (mut memory, other) = (Vec::new(), Password::new("another password".to_owned()));
        let hash = other.hash().unwrap();
        for _ in 0..2 {
            assert!(other.verifies(&hash, &mut memory));
            assert!(!Password::new("some password".to_owned()).verifies(&hash, &mut memory));
        }
        // A hash with other parameters, which the PHC string names; and invalid
        // hashes.
        let params = Params::new(64, 1, 1, Some(16)).unwrap();
        let small = Argon2::new(Algorithm::Argon2i, Version::V0x10, params);
        let small = small.hash_password(b"another password").unwrap().to_string();
        assert!(other.verifies(&small, &mut memory), "{small}");
        assert!(!other.verifies(&small.replace("argon2i", "argon2d"), &mut memory));
        for broken in [
            "",
            "$argon2id$v=19$m=19456,t=2,p=1",
            &hash[..hash.len() - 2],
            &hash.replace("argon2id", "bcrypt"),
        ] {
            assert!(!other.verifies(broken, &mut memory), "{broken}");
        }
        assert_eq!(memory.len(), Params::default().block_count());
    }

    #[test]
    fn one_network_leaves_places_to_the_others() {
        let checker = PasswordChecker::new().unwrap();
        let all = checker.admitted.available_permits();
        let from = |n: u8| checker.admit(IpAddr::from([192, 0, 2, n]));
        let mut held: Vec<_> = std::iter::from_fn(|| from(1).ok()).collect();
        assert_eq!(held.len(), all / SHARE);
        held.extend((2..).map_while(|n| from(n).ok()));
        assert_eq!(held.len(), all, "every place was given out once");
        held.remove(0);
        held.push(from(1).unwrap());
        drop(held);
        assert_eq!(checker.admitted.available_permits(), all);
        assert!(checker.networks.lock().unwrap().is_empty());
    }
}
