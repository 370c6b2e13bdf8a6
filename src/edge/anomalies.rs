//! What this edge sees that an operator should: logged and counted here, and told
//! to the issuer if this edge reports.

use std::sync::Arc;

use super::Edge;
use crate::anomaly::Watcher;

/// Passes on what is found, for as long as something is watched.
pub(super) async fn tell(mut watcher: Watcher, edge: Arc<Edge>) {
    while let Some(anomaly) = watcher.next().await {
        edge.metrics.count_anomaly(anomaly.kind);
        let network = anomaly.network.map(tracing::field::display);
        let session = anomaly.session.map(|id| id.short_hash());
        tracing::warn!(
            event = anomaly.kind.names().log,
            anomaly = anomaly.kind.name(),
            count = anomaly.count,
            within = anomaly.within.as_secs(),
            network,
            session,
            "anomaly"
        );
        edge.feed.report(anomaly);
    }
}
