//! What a store counts, so that the count outlives the process and holds for
//! every process on it: failed passwords, and live sessions.

use std::time::Duration;

use crate::id::{SessionId, Subject, SubjectHash};

/// A known device, as a signed cookie or a session names it.
pub type DeviceId = [u8; 16];

/// Whose failures are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    /// The name that was tried, whether or not anybody has it.
    pub account: SubjectHash,
    /// The known device that it was tried from; all others share one count.
    pub device: Option<DeviceId>,
}

/// How many wrong passwords there may be, and how long to wait between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptRule {
    /// Failures until there is a first wait.
    pub free: u32,
    /// The first wait, in whole seconds; each failure doubles it …
    pub first_wait: Duration,
    /// … up to this.
    pub longest_wait: Duration,
    /// Consecutive failures of an account, all devices together, after which
    /// its password is not looked at any more: at most 100 (NIST SP 800-63B-4
    /// §3.2.2).
    pub most: u32,
    /// How many names that nobody has are remembered. The one that was tried
    /// the longest ago makes room.
    pub names_of_nobody: u32,
}

impl AttemptRule {
    /// Of [`AttemptRule::most`], as many are kept for known devices, so that
    /// strangers can't use them up.
    pub const KEPT_FOR_DEVICES: u32 = 10;
    /// One device has so many; then it counts as a stranger's.
    pub const MOST_OF_DEVICE: u32 = Self::KEPT_FOR_DEVICES;

    /// How long there is no attempt after so many consecutive failures.
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

    /// After how many failures strangers may try no more.
    #[must_use]
    pub const fn most_of_strangers(&self) -> u32 {
        self.most.saturating_sub(Self::KEPT_FOR_DEVICES)
    }

    /// The fewest failures after which the wait is the longest. What is left
    /// of strangers' failures when the owner logs in from a known device: the
    /// lock goes, the slow pace stays.
    #[must_use]
    pub fn slowest_after(&self) -> u32 {
        (self.free..self.most_of_strangers())
            .find(|failures| self.wait_after(*failures) == self.longest_wait)
            .unwrap_or_else(|| self.most_of_strangers().saturating_sub(1))
    }
}

/// Whether a password may be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Attempt {
    /// Yes. It counts as failed until
    /// [`Store::attempt_succeeded`](super::Store::attempt_succeeded) says
    /// otherwise, so that attempts at the same time are no more than those one
    /// after the other.
    Go {
        /// What it was counted as.
        key: AttemptKey,
        /// Whether there may be no other after it, if it fails.
        last: bool,
    },
    /// Not yet.
    Wait(Duration),
    /// Not before the account is unlocked.
    Locked,
}

/// What a new session may not exceed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionCaps {
    /// Live sessions of its subject, itself included.
    pub account: Option<Cap>,
    /// Live sessions started from its network, itself included, and the
    /// network: what is counted by, as text.
    pub network: Option<(String, Cap)>,
    /// A session that it takes the place of, which doesn't count.
    pub replaces: Option<SessionId>,
}

/// A number of sessions, and what happens to one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// As many there may be.
    pub most: u32,
    /// What happens to one more.
    pub when_full: WhenFull,
}

/// What happens when there are as many sessions as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// No new one is started.
    Refuse,
    /// The oldest are revoked.
    EndOldest,
}

/// Which sessions were too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CapScope {
    /// Those of the subject.
    Account,
    /// Those of the network.
    Network,
}

/// A session that was revoked to make room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// The session.
    pub id: SessionId,
    /// Whose it was.
    pub subject: Subject,
    /// What it was too many of.
    pub scope: CapScope,
}
