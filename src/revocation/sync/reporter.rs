//! Sends the reports.

use core::convert::Infallible;

use tokio::time::{sleep, timeout};

use super::error::SyncError;
use super::http::Http;
use super::report::{AT_MOST_EVERY, EdgeReport, REPORT_EVERY, ReportedAnomaly, Reporter};
use super::{FeedClient, FeedHandle};
use crate::time::UnixTime;

impl FeedClient {
    /// Sends reports for as long as it is polled; never ends.
    pub async fn run(mut self) -> Infallible {
        let Some(reporter) = self.reporter.take() else { return self.follow_for_ever().await };
        let (http, handle) = (self.http.clone(), self.handle());
        tokio::select! {
            never = self.follow_for_ever() => never,
            never = reporter.run(&http, &handle) => never,
        }
    }
}

impl Reporter {
    async fn run(self, http: &Http, handle: &FeedHandle) -> Infallible {
        // The first report has a position.
        handle.wait_until(|status| status.as_of.is_some() || status.failures > 0).await;
        let mut last: Option<SyncError> = None;
        loop {
            let status = handle.status();
            let anomalies = handle.0.anomalies.take();
            let report = EdgeReport {
                edge: self.name.clone(),
                epoch: status.position.map(|position| position.epoch),
                sequence: status.position.map(|position| position.sequence),
                as_of: status.as_of.map(UnixTime::as_secs),
                anomalies: anomalies.iter().map(ReportedAnomaly::from).collect(),
            };
            match http.report(&report, &self.credential).await {
                Ok(()) => last = None,
                Err(error) => {
                    handle.0.anomalies.put_back(anomalies);
                    // A continuing failure is logged once.
                    if last.as_ref() != Some(&error) {
                        tracing::warn!(%error, "the issuer did not take this edge's report");
                        last = Some(error);
                    }
                    sleep(REPORT_EVERY).await;
                    continue;
                }
            }
            sleep(AT_MOST_EVERY).await;
            let _ = timeout(REPORT_EVERY.saturating_sub(AT_MOST_EVERY), handle.0.anomalies.wait()).await;
        }
    }
}
