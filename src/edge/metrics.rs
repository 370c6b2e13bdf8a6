//! The metrics of `/metrics`.

use std::sync::Mutex;
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::verdict::Verdict;
use crate::anomaly::AnomalyKind;
use crate::error::ConfigError;

/// Bucket bounds in seconds, from a cached token to past the renewal client's
/// timeout.
const BUCKETS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];

/// The edge's own registry.
pub(super) struct Metrics {
    pub(super) registry: Registry,
    verdicts: IntCounterVec,
    hops: IntCounterVec,
    pub(super) renewals: IntCounterVec,
    anomalies: IntCounterVec,
    pub(super) events_dropped: IntCounter,
    verify_duration: Histogram,
    pub(super) list: List,
    pub(super) feed: Feed,
    pub(super) cache: Cache,
    /// Only one scrape at a time updates counters that are kept elsewhere.
    pub(super) scrape: Mutex<()>,
}

pub(super) struct Feed {
    pub(super) age: IntGauge,
    pub(super) epoch: IntGauge,
    pub(super) sequence: IntGauge,
    pub(super) failures: IntGauge,
}

pub(super) struct List {
    pub(super) entries: IntGauge,
    pub(super) bytes: IntGauge,
}

pub(super) struct Cache {
    pub(super) hits: IntCounter,
    pub(super) misses: IntCounter,
    pub(super) tokens: IntGauge,
    pub(super) bytes: IntGauge,
}

impl Metrics {
    pub(super) fn new() -> Result<Self, ConfigError> {
        Self::registered().map_err(|why| ConfigError::Serve(why.into()))
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
            // Alerts on verdicts that have not happened yet need the zero.
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
        for kind in AnomalyKind::ALL.iter().copied() {
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

    /// Counts a verdict and how long it took.
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
}
