//! Recent activity for the operators' page: counts by the minute, the latest
//! log-ins and the latest anomalies. Bounded, in memory, and lost with the
//! process; the audit trail is on disk.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::anomaly::Anomaly;
use crate::error::Reason;
use crate::event::{Event, EventKind};
use crate::time::UnixTime;

/// How many minutes are counted, the current one included.
pub(crate) const MINUTES: usize = 15;
/// How many of the latest log-ins and anomalies are kept.
const LATEST: usize = 20;

/// One minute's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Minute {
    pub(crate) log_ins: u64,
    pub(crate) failed: u64,
    pub(crate) limited: u64,
    pub(crate) refused: [u64; Reason::ALL.len()],
}

/// An anomaly and the action taken.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    /// Its number since the start, from 1.
    pub(crate) number: u64,
    pub(crate) anomaly: Anomaly,
    pub(crate) action: &'static str,
}

/// The recent activity, shared by its writers and readers.
#[derive(Clone, Debug)]
pub(crate) struct RecentActivity(Arc<Channels>);

#[derive(Debug)]
struct Channels {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    anomalies: broadcast::Sender<Arc<Noted>>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the newest minute since the epoch.
    newest: u64,
    /// The newest last.
    minutes: VecDeque<Minute>,
    log_ins: VecDeque<Event>,
    anomalies: VecDeque<Arc<Noted>>,
    raised: u64,
}

impl Default for RecentActivity {
    fn default() -> Self {
        Self(Arc::new(Channels {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            anomalies: broadcast::Sender::new(2 * LATEST),
        }))
    }
}

impl RecentActivity {
    /// Counts an event. This is on the request path: a few additions under a
    /// lock.
    pub(crate) fn event(&self, event: &Event) {
        {
            let mut state = self.state();
            let minute = state.minute(event.at);
            match event.kind {
                EventKind::LogInSucceeded => minute.log_ins += 1,
                EventKind::LogInFailed => minute.failed += 1,
                EventKind::LogInLimited(_) => minute.limited += 1,
                EventKind::TokenRefused(reason) => {
                    if let Some(count) = Reason::ALL.iter().position(|other| *other == reason) {
                        minute.refused[count] += 1;
                    }
                }
                _ => return,
            }
            if !matches!(event.kind, EventKind::TokenRefused(_)) {
                push(&mut state.log_ins, event.clone());
            }
        }
        self.changed();
    }

    /// Records an anomaly.
    pub(crate) fn anomaly(&self, anomaly: Anomaly, action: &'static str) {
        let noted = {
            let mut state = self.state();
            state.raised += 1;
            let noted = Arc::new(Noted { number: state.raised, anomaly, action });
            push(&mut state.anomalies, Arc::clone(&noted));
            noted
        };
        // There may be no receivers.
        let _ = self.0.anomalies.send(noted);
        self.changed();
    }

    /// Returns the last minutes, the newest last.
    pub(crate) fn minutes(&self, now: UnixTime) -> [Minute; MINUTES] {
        let mut state = self.state();
        state.minute(now);
        let mut minutes = [Minute::default(); MINUTES];
        for (place, minute) in minutes.iter_mut().rev().zip(state.minutes.iter().rev()) {
            *place = *minute;
        }
        minutes
    }

    /// Returns the latest log-ins, the newest first.
    pub(crate) fn log_ins(&self) -> Vec<Event> {
        self.state().log_ins.iter().cloned().collect()
    }

    /// Returns the latest anomalies, the newest first, and a receiver of new
    /// ones.
    pub(crate) fn anomalies(&self) -> (Vec<Arc<Noted>>, broadcast::Receiver<Arc<Noted>>) {
        let state = self.state();
        (state.anomalies.iter().cloned().collect(), self.0.anomalies.subscribe())
    }

    /// Returns how many anomalies there were since the start.
    pub(crate) fn raised(&self) -> u64 {
        self.state().raised
    }

    /// Returns a receiver that changes with each new entry.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    fn changed(&self) {
        // Without receivers this is a lock and an addition.
        self.0.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the counts for the minute of `at`, after making room up to it.
    fn minute(&mut self, at: UnixTime) -> &mut Minute {
        let number = at.as_secs() / 60;
        let passed = usize::try_from(number.saturating_sub(self.newest)).unwrap_or(MINUTES).min(MINUTES);
        self.minutes.extend(core::iter::repeat_n(Minute::default(), passed));
        // If the clock was set back, the newest minute counts until it catches
        // up.
        self.newest = self.newest.max(number);
        while self.minutes.len() > MINUTES {
            self.minutes.pop_front();
        }
        if self.minutes.is_empty() {
            self.minutes.push_back(Minute::default());
        }
        let last = self.minutes.len() - 1;
        &mut self.minutes[last]
    }
}

/// Adds to a bounded list, the newest first.
fn push<T>(latest: &mut VecDeque<T>, new: T) {
    latest.truncate(LATEST - 1);
    latest.push_front(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> UnixTime {
        UnixTime::saturating_from_secs(1_800_000_000 + 60 * minute)
    }

    #[test]
    fn the_last_minutes_are_counted_and_older_ones_forgotten() {
        let live = RecentActivity::default();
        let failed = |minute| live.event(&Event::new(EventKind::LogInFailed, at(minute)));
        failed(0);
        failed(3);
        failed(3);
        let counts = |now| live.minutes(at(now)).map(|minute| minute.failed);
        assert_eq!(counts(3)[11..], [1, 0, 0, 2]);
        assert_eq!(counts(14).iter().sum::<u64>(), 3);
        assert_eq!(counts(15).iter().sum::<u64>(), 2);
        // With the clock set back, it counts in the newest minute.
        failed(2);
        assert_eq!(counts(15)[14], 1);
        assert_eq!(counts(1000).iter().sum::<u64>(), 0);
        for _ in 0..100 {
            failed(1000);
        }
        assert_eq!(live.log_ins().len(), LATEST);
    }
}
