//! An anomaly as a line in the log.

use crate::anomaly::Anomaly;

/// Logs one line at level WARN. `done` says what was done about the anomaly;
/// an edge, which only reports, has nothing to say there.
pub(crate) fn log_anomaly(anomaly: &Anomaly, done: Option<&'static str>) {
    let network = anomaly.network.map(tracing::field::display);
    let session = anomaly.session.map(|id| id.short_hash());
    tracing::warn!(
        event = anomaly.kind.names().log,
        anomaly = anomaly.kind.name(),
        count = anomaly.count,
        within = anomaly.within.as_secs(),
        network,
        session,
        edge = anomaly.edge.as_deref(),
        action = done,
        "anomaly"
    );
}
