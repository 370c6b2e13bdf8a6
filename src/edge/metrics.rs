//! What `/metrics` tells.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use super::Edge;
use super::verify::Verdict;
use crate::anomaly::AnomalyKind;
use crate::error::ConfigError;
use crate::time::UnixTime;

/// In seconds: from a cached token to the renewal client's patience and beyond.
const BUCKETS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];

/// The edge's own registry.
pub(super) struct Metrics {
    registry: Registry,
    verdicts: IntCounterVec,
    hops: IntCounterVec,
    renewals: IntCounterVec,
    anomalies: IntCounterVec,
    events_dropped: IntCounter,
    verify_duration: Histogram,
    list: List,
    feed: Feed,
    cache: Cache,
    /// One scrape at a time brings what is counted elsewhere up to date.
    scrape: Mutex<()>,
}

struct Feed {
    age: IntGauge,
    epoch: IntGauge,
    sequence: IntGauge,
    failures: IntGauge,
}

struct List {
    entries: IntGauge,
    bytes: IntGauge,
}

struct Cache {
    hits: IntCounter,
    misses: IntCounter,
    tokens: IntGauge,
    bytes: IntGauge,
}

impl Metrics {
    pub(super) fn new() -> Result<Self, ConfigError> {
        Self::registered().map_err(|why| ConfigError::Serve(why.to_string()))
    }

    fn registered() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some("hallpass_edge".to_owned()), None)?;
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let verdicts = counters("verdicts_total", "Requests that a proxy asked about.", "verdict")?;
        for verdict in Verdict::all() {
            // Alerts on what has never happened yet need the zero.
            verdicts.with_label_values(&[verdict.name()]);
        }
        let hops = counters("hops_total", "Log-ins by a hop from the issuer's host.", "outcome")?;
        for outcome in
            ["started", "completed", "wrong_state", "ticket_refused", "issuer_unavailable", "token_refused"]
        {
            hops.with_label_values(&[outcome]);
        }
        let renewals = counters("renewals_total", "Answers of the issuer about a token.", "outcome")?;
        let anomalies = counters("anomalies_total", "Anomalies that the detector raised here.", "kind")?;
        for kind in AnomalyKind::ALL {
            anomalies.with_label_values(&[kind.name()]);
        }
        let verify_duration = Histogram::with_opts(
            HistogramOpts::new("verify_duration_seconds", "How long a proxy waited for an answer.")
                .buckets(BUCKETS.to_vec()),
        )?;
        registry.register(Box::new(verify_duration.clone()))?;
        Ok(Self {
            verdicts,
            hops,
            renewals,
            anomalies,
            events_dropped: counter(
                "anomaly_events_dropped_total",
                "Events that the detector did not hear since its queue was full.",
            )?,
            verify_duration,
            list: List {
                entries: gauge("revocation_list_entries", "Entries of the revocation list.")?,
                bytes: gauge("revocation_list_bytes", "Bytes of memory that it takes.")?,
            },
            feed: Feed {
                age: gauge("feed_age_seconds", "Since the applied feed was signed; -1 before the first.")?,
                epoch: gauge("feed_epoch", "Epoch of the applied feed.")?,
                sequence: gauge("feed_sequence", "Sequence of the applied feed.")?,
                failures: gauge("feed_failures", "Failed attempts since the last feed.")?,
            },
            cache: Cache {
                hits: counter("token_cache_hits_total", "Tokens whose signature was known to hold.")?,
                misses: counter("token_cache_misses_total", "Tokens whose signature was checked.")?,
                tokens: gauge("token_cache_tokens", "Tokens in the cache.")?,
                bytes: gauge("token_cache_bytes", "Bytes that they take.")?,
            },
            registry,
            scrape: Mutex::new(()),
        })
    }

    /// Counts what became of a request, and how long that took.
    pub(super) fn count(&self, verdict: Verdict, took: Duration) {
        self.verdicts.with_label_values(&[verdict.name()]).inc();
        self.verify_duration.observe(took.as_secs_f64());
    }

    pub(super) fn count_anomaly(&self, kind: AnomalyKind) {
        self.anomalies.with_label_values(&[kind.name()]).inc();
    }

    pub(super) fn count_hop(&self, outcome: &'static str) {
        self.hops.with_label_values(&[outcome]).inc();
    }

    /// The text format, with what is counted elsewhere.
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

/// Counters are counted elsewhere, and only grow.
fn bring(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn saturating(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
