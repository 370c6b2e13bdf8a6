//! What this edge sees that an operator should: logged here, and told to the
//! issuer if this edge reports.

use crate::anomaly::Watcher;
use crate::revocation::sync::FeedHandle;

/// Passes on what is found, for as long as something is watched.
pub(super) async fn tell(mut watcher: Watcher, feed: FeedHandle) {
    while let Some(anomaly) = watcher.next().await {
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
        feed.report(anomaly);
    }
}
