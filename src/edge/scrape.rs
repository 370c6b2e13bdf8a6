//! The text of `/metrics`, with the counters that are kept elsewhere.

use std::sync::PoisonError;

use prometheus::{IntCounter, TextEncoder};

use super::metrics::Metrics;
use super::state::Edge;
use crate::time::UnixTime;

impl Metrics {
    /// Returns the text format, with the counters that are kept elsewhere.
    pub(super) fn text(&self, edge: &Edge, now: UnixTime) -> Result<String, prometheus::Error> {
        let _scrape = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        let status = edge.feed.status();
        self.feed.age.set(status.age(now).map_or(-1, |age| saturating(age.as_secs())));
        if let Some(position) = status.position {
            self.feed.epoch.set(saturating(position.epoch));
            self.feed.sequence.set(saturating(position.sequence));
        }
        self.feed.failures.set(saturating(status.failures));
        let counts = edge.renewal.counts();
        for (outcome, total) in [
            ("renewed", counts.renewed),
            ("not_due", counts.not_due),
            ("refused", counts.refused),
            ("failed", counts.failed),
        ] {
            bring(&self.renewals.with_label_values(&[outcome]), total);
        }
        bring(&self.events_dropped, edge.watch.dropped());
        let list = edge.revocations.snapshot();
        self.list.entries.set(saturating(list.len() as u64));
        self.list.bytes.set(saturating(list.heap_bytes() as u64));
        if let Some(counts) = edge.verifier.token_cache_counts() {
            bring(&self.cache.hits, counts.hits);
            bring(&self.cache.misses, counts.misses);
            self.cache.tokens.set(saturating(counts.tokens as u64));
            self.cache.bytes.set(saturating(counts.bytes as u64));
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Raises a counter to a total that is kept elsewhere and only grows.
fn bring(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn saturating(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
