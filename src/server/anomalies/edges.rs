//! Edges that fall behind, and the anomalies that edges report.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::anomaly::{Anomaly, Watch};
use crate::revocation::sync::EdgeReport;
use crate::server::feed::edges::{Edges, MAX_EDGES};
use crate::time::{Clock, UnixTime};

/// Most anomalies accepted from one edge in a minute. Those of the same kind
/// and key count once, and a person reads only the first few.
const MOST_A_MINUTE: u32 = 60;
/// How often the edges are checked.
const EVERY: Duration = Duration::from_secs(5);

/// Anomalies reported by edges that showed the edge credential. Bounded per
/// edge and minute, and in the number of edges.
#[derive(Debug, Default)]
pub(crate) struct EdgeAnomalies(Mutex<(u64, BTreeMap<Box<str>, u32>)>);

impl EdgeAnomalies {
    /// Returns the report's anomalies to accept, with the edge's name added and
    /// no time later than now.
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

/// Reports each edge's lag to the detector, for ever.
pub(crate) async fn watch_edges(edges: Edges, watch: Watch, clock: Arc<dyn Clock>) {
    let started = clock.now();
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let now = clock.now();
        for edge in edges.list(now) {
            // A silent edge may be well, but nobody can tell.
            let heard = edge.as_of.unwrap_or(started).min(edge.reported_at);
            watch.edge(&edge.name, now.since(heard), now);
        }
    }
}
