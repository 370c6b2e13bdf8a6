//! Secrets that programs and operators present. They come from the environment,
//! never from an argument or a file that others can read.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::ConfigError;

/// Shortest secret, in characters: 128 bits in hex.
const MIN_CHARACTERS: usize = 32;

/// A shared secret, by its hash. Without one, nobody is admitted.
#[derive(Clone)]
pub(crate) struct SharedCredential(Option<[u8; 32]>);

impl SharedCredential {
    /// Reads the secret from the environment variable `name`, if it is set.
    pub(crate) fn from_env(name: &str) -> Result<Self, ConfigError> {
        let Some(secret) = std::env::var_os(name).filter(|secret| !secret.is_empty()) else {
            return Ok(Self(None));
        };
        let secret = zeroize::Zeroizing::new(secret.into_encoded_bytes());
        if secret.len() < MIN_CHARACTERS {
            return Err(ConfigError::Credential { variable: name.to_owned(), least: MIN_CHARACTERS });
        }
        Ok(Self(Some(Sha256::digest(&*secret).into())))
    }

    /// Returns whether a request presents it as `Authorization: Bearer`.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let shown = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
            .map(|secret| <[u8; 32]>::from(Sha256::digest(secret)));
        match (&self.0, shown) {
            (Some(wanted), Some(shown)) => wanted.ct_eq(&shown).into(),
            _ => false,
        }
    }
}
