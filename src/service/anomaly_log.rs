//! An anomaly as a line in the log.

use crate::anomaly::Anomaly;

/// Logs one line at level WARN. `done` is the action taken; an edge only
/// reports, so it has none.
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
