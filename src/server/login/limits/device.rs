//! Known devices: a cookie shows that this browser logged in to this account
//! before.
//!
//! It is no session and no log-in credential. It only selects the failure
//! counter for a wrong password, so that strangers who guess can't lock out the
//! owner (OWASP, "device cookies").

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use rand::TryRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::id::SubjectHash;
use crate::issuer::store::DeviceId;
use crate::time::UnixTime;
use crate::wire::text;

/// How long a device is known after its last log-in.
pub(crate) const DEVICE_LIFETIME: Duration = Duration::from_hours(180 * 24);

/// Device, account, time of the log-in.
const FIELDS: usize = 16 + SubjectHash::LEN + 8;
const MAC: usize = 32;

/// Makes and recognizes device cookies.
pub(crate) struct Devices {
    secret: Zeroizing<[u8; 32]>,
}

impl Devices {
    /// The name of the secret in the store.
    pub(crate) const PURPOSE: &str = "device cookies";

    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self { secret: Zeroizing::new(secret) }
    }

    /// Makes the cookie for a device that has just logged in to `account`. The
    /// device is `known`, or else a new one. Returns `None` if the system has
    /// no randomness, since the cookie is optional.
    pub(crate) fn cookie(
        &self,
        account: SubjectHash,
        known: Option<DeviceId>,
        now: UnixTime,
    ) -> Option<String> {
        let mut device = known.unwrap_or_default();
        if known.is_none() {
            rand::rngs::SysRng.try_fill_bytes(&mut device).ok()?;
        }
        let mut bytes = Vec::with_capacity(FIELDS + MAC);
        bytes.extend(device);
        bytes.extend(account.as_bytes());
        bytes.extend(now.as_secs().to_be_bytes());
        let mac = self.mac(&bytes).finalize().into_bytes();
        bytes.extend(mac);
        Some(text::encode(&bytes))
    }

    /// Returns the device if the cookie is genuine, for this account and not
    /// too old.
    pub(crate) fn known(&self, cookie: &str, account: SubjectHash, now: UnixTime) -> Option<DeviceId> {
        let bytes = text::decode_vec(cookie).ok().filter(|bytes| bytes.len() == FIELDS + MAC)?;
        let (fields, mac) = bytes.split_at(FIELDS);
        self.mac(fields).verify_slice(mac).ok()?;
        let (device, rest) = fields.split_first_chunk::<16>()?;
        let (owner, seconds) = rest.split_first_chunk::<{ SubjectHash::LEN }>()?;
        let made = UnixTime::from_secs(u64::from_be_bytes(seconds.try_into().ok()?))?;
        let good = owner == account.as_bytes() && now.since(made) < DEVICE_LIFETIME;
        good.then_some(*device)
    }

    fn mac(&self, fields: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104 §2)")]
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&*self.secret).expect("a key of any length will do");
        mac.update(b"hallpass device cookie 1");
        mac.update(fields);
        mac
    }
}

impl core::fmt::Debug for Devices {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Devices(secret not shown)")
    }
}
