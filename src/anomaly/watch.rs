//! Runs the detector off the request path: a bounded queue and a task. When the
//! queue is full, events are counted and dropped; nothing waits.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::{Anomaly, Detector, Rules};
use crate::event::{Event, EventKind, EventSink};
use crate::id::SessionId;
use crate::time::{Clock, UnixTime};

/// Most events in the queue: some milliseconds' work.
const QUEUE: usize = 4096;
/// How often the clocks are compared.
const CLOCKS_EVERY: Duration = Duration::from_secs(1);

/// An input of the detector.
#[derive(Debug)]
enum Observation {
    Event(Event),
    Used { session: SessionId, address: IpAddr, at: UnixTime },
    Edge { name: Box<str>, age: Duration, at: UnixTime },
    Reported(Box<Anomaly>),
}

/// The sending half. It never blocks. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Watch {
    queue: mpsc::Sender<Observation>,
    dropped: Arc<AtomicU64>,
}

/// The receiving half, which returns anomalies.
pub struct Watcher {
    queue: mpsc::Receiver<Observation>,
    detector: Detector,
    found: VecDeque<Anomaly>,
    clock: Arc<dyn Clock>,
    started: Instant,
    /// Created in the runtime, since an interval needs one.
    ticks: Option<tokio::time::Interval>,
}

impl core::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Watcher").field("detector", &self.detector).finish_non_exhaustive()
    }
}

impl Watch {
    /// Makes both halves.
    #[must_use]
    pub fn new(rules: Rules, clock: Arc<dyn Clock>) -> (Self, Watcher) {
        let (send, receive) = mpsc::channel(QUEUE);
        let watcher = Watcher {
            queue: receive,
            detector: Detector::new(rules),
            found: VecDeque::new(),
            clock,
            started: Instant::now(),
            ticks: None,
        };
        (Self { queue: send, dropped: Arc::default() }, watcher)
    }

    /// A session was used from this address.
    pub fn used(&self, session: SessionId, address: IpAddr, at: UnixTime) {
        self.tell(Observation::Used { session, address, at });
    }

    /// The age of an edge's list.
    pub fn edge(&self, name: &str, age: Duration, at: UnixTime) {
        self.tell(Observation::Edge { name: name.into(), age, at });
    }

    /// A trusted edge reports an anomaly.
    pub fn reported(&self, anomaly: Anomaly) {
        self.tell(Observation::Reported(Box::new(anomaly)));
    }

    /// The number of events dropped because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn tell(&self, observation: Observation) {
        if self.queue.try_send(observation).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl EventSink for Watch {
    fn used(&self, session: SessionId, address: IpAddr, at: UnixTime) {
        Self::used(self, session, address, at);
    }

    fn record(&self, event: Event) {
        let counts = !matches!(
            event.kind,
            EventKind::LogInSucceeded
                | EventKind::SessionEnded
                | EventKind::UseAfterExpiry
                | EventKind::TicketIssued
                | EventKind::TicketRedeemed
        );
        if counts {
            self.tell(Observation::Event(event));
        }
    }
}

impl Watcher {
    /// Returns the next anomaly; `None` when every [`Watch`] is dropped. Cancel
    /// safe.
    pub async fn next(&mut self) -> Option<Anomaly> {
        loop {
            if let Some(anomaly) = self.found.pop_front() {
                return Some(anomaly);
            }
            let ticks = self.ticks.get_or_insert_with(|| {
                let mut ticks = tokio::time::interval(CLOCKS_EVERY);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                ticks
            });
            tokio::select! {
                biased;
                _ = ticks.tick() => {
                    let found = self.detector.clocks(self.clock.now(), self.started.elapsed());
                    self.found.extend(found);
                }
                observation = self.queue.recv() => self.observe(observation?),
            }
        }
    }

    /// The number of anomalies dropped because there were too many.
    #[must_use]
    pub const fn suppressed(&self) -> u64 {
        self.detector.suppressed()
    }

    fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Event(event) => self.found.extend(self.detector.event(&event)),
            Observation::Used { session, address, at } => {
                self.found.extend(self.detector.used(session, address, at));
            }
            Observation::Edge { name, age, at } => self.found.extend(self.detector.edge(&name, age, at)),
            Observation::Reported(anomaly) => self.found.extend(self.detector.again(*anomaly)),
        }
    }
}
