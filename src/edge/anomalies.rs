//! Anomalies that this edge detects: logged and counted here, and sent to the
//! issuer if this edge reports.

use std::sync::Arc;

use super::state::Edge;
use crate::anomaly::Watcher;
use crate::service::anomaly_log::log_anomaly;

/// Handles each anomaly for as long as the watcher has a source.
pub(super) async fn tell(mut watcher: Watcher, edge: Arc<Edge>) {
    while let Some(anomaly) = watcher.next().await {
        edge.metrics.count_anomaly(anomaly.kind);
        log_anomaly(&anomaly, None);
        edge.feed.report(anomaly);
    }
}
