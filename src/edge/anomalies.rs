//! What this edge sees that an operator should: logged and counted here, and told
//! to the issuer if this edge reports.

use std::sync::Arc;

use super::state::Edge;
use crate::anomaly::Watcher;
use crate::service::anomaly_log::log_anomaly;

/// Passes on what is found, for as long as something is watched.
pub(super) async fn tell(mut watcher: Watcher, edge: Arc<Edge>) {
    while let Some(anomaly) = watcher.next().await {
        edge.metrics.count_anomaly(anomaly.kind);
        log_anomaly(&anomaly, None);
        edge.feed.report(anomaly);
    }
}
