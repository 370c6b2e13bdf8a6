//! How long to wait before the next attempt.

use std::time::Duration;

use rand::RngExt;

/// Doubling waits with jitter, so that the edges of a fleet do not all
/// reconnect to a restarted issuer at the same moment.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first), next: first }
    }

    /// Returns a wait between half the step and all of it, and doubles the
    /// step.
    pub(crate) fn next(&mut self) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.longest);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}
