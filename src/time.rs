//! Time as in tokens: whole seconds since 1970-01-01T00:00:00Z.
//!
//! Only the outermost layer reads a clock; elsewhere `now` is an argument.

use core::fmt;
use std::time::Duration;

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use serde::{Serialize, Serializer};

/// Default of the tolerated clock skew.
pub(crate) const DEFAULT_LEEWAY: Duration = Duration::from_secs(5);
/// Largest tolerated clock skew.
pub(crate) const MAX_LEEWAY: Duration = Duration::from_mins(1);

/// A point in time: whole seconds since the Unix epoch, at most
/// 9999-12-31T23:59:59Z, the last that RFC 3339 can write.
///
/// Arithmetic saturates at both ends. It never panics or wraps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// 9999-12-31T23:59:59Z.
    pub const MAX: Self = Self(253_402_300_799);

    /// `seconds` since the epoch; `None` past [`UnixTime::MAX`].
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Option<Self> {
        if seconds <= Self::MAX.0 { Some(Self(seconds)) } else { None }
    }

    /// `seconds` since the epoch, or [`UnixTime::MAX`] if that is earlier.
    #[must_use]
    pub const fn saturating_from_secs(seconds: u64) -> Self {
        if seconds <= Self::MAX.0 { Self(seconds) } else { Self::MAX }
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// This time plus `duration`, whose part of a second is dropped.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self::saturating_from_secs(self.0.saturating_add(duration.as_secs()))
    }

    /// This time less `duration`, whose part of a second is dropped.
    #[must_use]
    pub const fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// Parses an RFC 3339 date-time with any offset. Fractions of a second are
    /// dropped. `None` if it is invalid or out of range.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Self::from_secs(u64::try_from(parsed.unix_timestamp()).ok()?)
    }
}

impl fmt::Display for UnixTime {
    /// RFC 3339 in UTC, like `2026-11-23T09:30:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = i64::try_from(self.0)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .and_then(|at| at.format(&Rfc3339).ok())
            .ok_or(fmt::Error)?;
        f.write_str(&text)
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixTime({self})")
    }
}

impl Serialize for UnixTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The source of `now` for the outermost layer.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time, in whole seconds.
    fn now(&self) -> UnixTime;
}

/// The system clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        // A clock before 1970 counts as 1970. Every token is then from the future and
        // refused, which is safe.
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(UnixTime::EPOCH, |d| UnixTime::saturating_from_secs(d.as_secs()))
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> UnixTime {
        (**self).now()
    }
}

/// The time used to delete revocations, sessions and failure counts.
///
/// A wall clock that jumps forward would delete revocations of sessions that are
/// live again when it is set back. So this clock follows the wall clock backward,
/// and forward no faster than a monotonic clock. The time at start may be wrong too:
/// nothing is deleted in the first [`ExpiryClock::SETTLE`] of a process, nor before
/// [`ExpiryClock::MARGIN`] has passed.
#[cfg(any(feature = "sync", feature = "server"))]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExpiryClock {
    /// The smallest lead of the wall clock over the monotonic clock so far, in
    /// seconds.
    lead: Option<i128>,
}

#[cfg(any(feature = "sync", feature = "server"))]
impl ExpiryClock {
    /// How long after its start a process deletes nothing.
    pub(crate) const SETTLE: Duration = Duration::from_mins(10);
    /// How long expired entries are kept in addition.
    pub(crate) const MARGIN: Duration = Duration::from_hours(1);

    /// Returns the time to delete by; `None` if nothing may be deleted yet. `wall`
    /// is the wall clock, `running` the process's monotonic run time.
    pub(crate) fn at(&mut self, wall: UnixTime, running: Duration) -> Option<UnixTime> {
        let running_secs = i128::from(running.as_secs());
        let lead = i128::from(wall.as_secs()) - running_secs;
        let lead = self.lead.map_or(lead, |smallest| smallest.min(lead));
        self.lead = Some(lead);
        if running < Self::SETTLE {
            return None;
        }
        let confirmed = u64::try_from(lead + running_secs).unwrap_or(0);
        Some(UnixTime::saturating_from_secs(confirmed).saturating_sub(Self::MARGIN))
    }
}

#[cfg(all(test, any(feature = "sync", feature = "server")))]
mod tests {
    use super::*;

    const START: u64 = 1_790_000_000;
    const YEAR: u64 = 365 * 86_400;

    #[test]
    fn the_time_to_delete_by_never_outruns_the_monotonic_clock() {
        let mut clock = ExpiryClock::default();
        let mut at = |wall: u64, running: u64| {
            let wall = UnixTime::from_secs(wall).unwrap();
            clock.at(wall, Duration::from_secs(running)).map(UnixTime::as_secs)
        };
        assert_eq!(at(START, 0), None);
        assert_eq!(at(START + 599, 599), None, "the start may have been wrong");
        assert_eq!(at(START + 600, 600), Some(START - 3000));
        // A jump of a year forward changes nothing, as long as it lasts.
        assert_eq!(at(START + YEAR, 700), Some(START - 2900));
        assert_eq!(at(START + YEAR + 86_400, 87_100), Some(START + 83_500));
        // One back is followed, and the way forward again is not.
        assert_eq!(at(START + 80_000, 87_200), Some(START + 76_400));
        assert_eq!(at(START + 87_300, 87_300), Some(START + 76_500));
        assert_eq!(at(0, 87_400), Some(0));
        assert_eq!(at(UnixTime::MAX.as_secs(), 87_401), Some(0));
    }
}
