//! Server nonces (RFC 9449 §8) without a store: a MAC over the edge's name and
//! the minute.

use core::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use rand::TryRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::ConfigError;
use crate::time::UnixTime;
use crate::wire::text;

/// Makes and recognises the nonces of one edge.
///
/// With a [secret of its own](ServerNonces::generate), an edge recognises only
/// its own nonces, even if other edges have the same name. Edges that share a
/// secret are distinguished by their names.
pub struct ServerNonces {
    secret: Zeroizing<[u8; 32]>,
    edge: Box<str>,
}

impl ServerNonces {
    /// A nonce is current for the window in which it was made and for the next.
    pub const WINDOW: Duration = Duration::from_mins(1);
    /// 128 bits of the MAC can't be guessed within two minutes.
    const BYTES: usize = 16;

    /// The nonces of this edge with a new random secret. After a restart, each
    /// client must fetch a new nonce once.
    ///
    /// # Errors
    /// [`ConfigError::Randomness`] if the system gives no random bytes.
    pub fn generate(edge: impl Into<Box<str>>) -> Result<Self, ConfigError> {
        let mut secret = Zeroizing::new([0; 32]);
        rand::rngs::SysRng
            .try_fill_bytes(&mut *secret)
            .map_err(|error| ConfigError::Randomness(error.into()))?;
        Ok(Self { secret, edge: edge.into() })
    }

    /// The nonces of this edge with a given secret.
    #[must_use]
    pub fn with_secret(edge: impl Into<Box<str>>, secret: [u8; 32]) -> Self {
        Self { secret: Zeroizing::new(secret), edge: edge.into() }
    }

    /// Returns the current nonce.
    pub(super) fn current(&self, now: UnixTime) -> String {
        let mac = self.mac(window(now)).finalize().into_bytes();
        text::encode(&mac[..Self::BYTES])
    }

    /// Returns whether `nonce` is of this window or the one before. Takes
    /// constant time.
    pub(super) fn is_current(&self, nonce: &str, now: UnixTime) -> bool {
        let Ok(bytes) = text::decode_vec(nonce) else { return false };
        if bytes.len() != Self::BYTES {
            return false;
        }
        let this = window(now);
        let given_in = |window| self.mac(window).verify_truncated_left(&bytes).is_ok();
        given_in(this) || this.checked_sub(1).is_some_and(given_in)
    }

    fn mac(&self, window: u64) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104 §2)")]
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&*self.secret).expect("a key of any length will do");
        // The fixed parts come first and the name, of any length, last, so that
        // no two edges and windows have the same input.
        mac.update(b"hallpass proof nonce");
        mac.update(&window.to_be_bytes());
        mac.update(self.edge.as_bytes());
        mac
    }
}

/// The number of the window of `now`.
const fn window(now: UnixTime) -> u64 {
    now.as_secs() / ServerNonces::WINDOW.as_secs()
}

impl fmt::Debug for ServerNonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerNonces(of {:?}, secret not shown)", self.edge)
    }
}
