//! Edges: those that fall behind, and the anomalies that they report.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::anomaly::{Anomaly, Watch};
use crate::revocation::sync::EdgeReport;
use crate::server::feed::edges::{Edges, MAX_EDGES};
use crate::time::{Clock, UnixTime};

/// Most anomalies that are taken from one edge in a minute. Those of the same
/// kind and key are one; a person reads the first few.
const MOST_A_MINUTE: u32 = 60;
/// How often the edges are looked over.
const EVERY: Duration = Duration::from_secs(5);

/// What edges report, of those that showed the edge credential. Bounded in a
/// minute for each edge, and in edges.
#[derive(Debug, Default)]
pub(crate) struct EdgeAnomalies(Mutex<(u64, BTreeMap<Box<str>, u32>)>);

impl EdgeAnomalies {
    /// The anomalies of a report, with the edge's name and no later than now.
    pub(crate) fn admit(&self, report: &EdgeReport, now: UnixTime) -> Vec<Anomaly> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (minute, by_edge) = &mut *taken;
        if *minute != now.as_secs() / 60 {
            *minute = now.as_secs() / 60;
            by_edge.clear();
        }
        if by_edge.len() >= MAX_EDGES && !by_edge.contains_key(report.edge.as_str()) {
            return Vec::new();
        }
        let taken = by_edge.entry(report.edge.as_str().into()).or_default();
        let room = MOST_A_MINUTE.saturating_sub(*taken);
        let anomalies: Vec<_> = report.anomalies(now).take(room as usize).collect();
        *taken += u32::try_from(anomalies.len()).unwrap_or(u32::MAX);
        anomalies
    }
}

/// Tells the detector how far behind each edge is, for ever.
pub(crate) async fn watch_edges(edges: Edges, watch: Watch, clock: Arc<dyn Clock>) {
    let started = clock.now();
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let now = clock.now();
        for edge in edges.list(now) {
            // One that is silent may be well, but nobody knows.
            let heard = edge.as_of.unwrap_or(started).min(edge.reported_at);
            watch.edge(&edge.name, now.since(heard), now);
        }
    }
}
