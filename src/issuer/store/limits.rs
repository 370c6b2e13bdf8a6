//! Limits that the store counts: failed passwords and live sessions. The counts
//! survive a restart and hold for all processes on the store.

use std::time::Duration;

use crate::id::{SessionId, Subject, SubjectHash};

/// The id of a known device, from its signed cookie.
pub type DeviceId = [u8; 16];

/// Failures with the same key are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    /// The name in the attempt, whether or not the user exists.
    pub account: SubjectHash,
    /// The known device; all unknown devices share one count.
    pub device: Option<DeviceId>,
}

/// The limits on wrong passwords, and the waits between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptRule {
    /// Failures before the first wait.
    pub free: u32,
    /// The first wait, in whole seconds; each failure doubles it …
    pub first_wait: Duration,
    /// … up to this.
    pub longest_wait: Duration,
    /// Consecutive failures of an account, on all devices together, after which
    /// it is locked: at most 100 (NIST SP 800-63B-4 §3.2.2).
    pub most: u32,
    /// Most unknown names that are remembered. The least recently tried one is
    /// evicted.
    pub names_of_nobody: u32,
}

impl AttemptRule {
    /// The part of [`AttemptRule::most`] that is reserved for known devices, so
    /// that unknown ones can't use it up.
    pub const KEPT_FOR_DEVICES: u32 = 10;
    /// Failures of one device, after which it counts as unknown.
    pub const MOST_OF_DEVICE: u32 = Self::KEPT_FOR_DEVICES;

    /// The wait after this many consecutive failures.
    #[must_use]
    pub fn wait_after(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.free) {
            None => Duration::ZERO,
            Some(doublings) => {
                let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
                self.first_wait.saturating_mul(factor).min(self.longest_wait)
            }
        }
    }

    /// The failures after which unknown devices are locked out.
    #[must_use]
    pub const fn most_of_strangers(&self) -> u32 {
        self.most.saturating_sub(Self::KEPT_FOR_DEVICES)
    }

    /// The fewest failures with the longest wait. The count of unknown devices
    /// falls to this when the owner logs in from a known device: the lock ends,
    /// the longest wait stays.
    #[must_use]
    pub fn slowest_after(&self) -> u32 {
        (self.free..self.most_of_strangers())
            .find(|failures| self.wait_after(*failures) == self.longest_wait)
            .unwrap_or_else(|| self.most_of_strangers().saturating_sub(1))
    }
}

/// Whether a password may be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Attempt {
    /// Yes. It counts as failed until
    /// [`Store::attempt_succeeded`](super::Store::attempt_succeeded), so that
    /// parallel attempts can't exceed the limit.
    Go {
        /// The key that it was counted under.
        key: AttemptKey,
        /// Whether a failure of this attempt locks the account.
        last: bool,
    },
    /// Not before this time.
    Wait(Duration),
    /// No: the account is locked.
    Locked,
}

/// The limits on live sessions that a new session must meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionCaps {
    /// Live sessions of its subject, itself included.
    pub account: Option<Cap>,
    /// Live sessions started from its network, itself included, and the network
    /// as text.
    pub network: Option<(String, Cap)>,
    /// A session that it replaces, which doesn't count.
    pub replaces: Option<SessionId>,
}

/// A limit on sessions, and what happens above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// The largest number.
    pub most: u32,
    /// What happens above it.
    pub when_full: WhenFull,
}

/// What happens to a new session above the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The new one is refused.
    Refuse,
    /// The oldest are revoked.
    EndOldest,
}

/// The limit that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CapScope {
    /// The subject's.
    Account,
    /// The network's.
    Network,
}

/// A session that was revoked because of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// The session.
    pub id: SessionId,
    /// Its user.
    pub subject: Subject,
    /// The limit that was exceeded.
    pub scope: CapScope,
}
