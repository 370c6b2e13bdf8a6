//! The metrics of `GET /metrics` on the operators' address, in the Prometheus
//! text format.
//!
//! No label has a value that a client chose. Reasons, limits, routes and
//! operations come from lists in this program. Edges are those that showed the
//! edge credential, in bounded number.

pub(in crate::server) mod families;
pub(in crate::server) mod process;
mod store;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::StatusCode;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use self::families::Maker;
pub(crate) use self::store::Timed;
use crate::anomaly::AnomalyKind;
use crate::error::{ConfigError, Reason};
use crate::event::{Event, EventKind, Limit};
use crate::service::permits::Full;
use crate::time::{Clock, SystemClock, UnixTime};

/// All metrics. Clones share their counts. Two from [`Metrics::new`] are
/// independent.
#[derive(Clone)]
pub(crate) struct Metrics(pub(in crate::server) Arc<Families>);

pub(in crate::server) struct Families {
    pub(in crate::server) registry: Registry,
    /// Held while values that are read only at a scrape are updated.
    pub(in crate::server) scraping: Mutex<()>,
    pub(in crate::server) started: (UnixTime, Instant),

    pub(in crate::server) events: IntCounterVec,
    pub(in crate::server) verdicts: IntCounterVec,
    pub(in crate::server) log_ins: IntCounterVec,
    pub(in crate::server) limited: IntCounterVec,
    pub(in crate::server) sessions: IntCounterVec,
    pub(in crate::server) revocations: IntCounterVec,
    pub(in crate::server) panics: IntCounter,
    pub(in crate::server) anomalies: IntCounterVec,
    pub(in crate::server) anomaly_events_dropped: IntCounter,
    pub(in crate::server) webhooks_dropped: IntCounter,

    pub(in crate::server) in_flight: IntGauge,
    pub(in crate::server) requests: HistogramVec,
    pub(in crate::server) store: HistogramVec,
    pub(in crate::server) store_errors: IntCounterVec,

    pub(in crate::server) feeds_signed: IntCounter,
    pub(in crate::server) feed_errors: IntCounter,
    pub(in crate::server) feed_signed_at: IntGauge,
    pub(in crate::server) feed_connections: IntGauge,
    pub(in crate::server) waiting_refused: IntCounterVec,
    pub(in crate::server) feed_signing: Histogram,

    pub(in crate::server) password_checks: IntGaugeVec,
    pub(in crate::server) password_checks_limit: IntGaugeVec,
    pub(in crate::server) position: IntGaugeVec,
    pub(in crate::server) list_entries: IntGauge,
    pub(in crate::server) list_bytes: IntGauge,
    pub(in crate::server) edges: IntGauge,
    pub(in crate::server) edge_reported: IntGaugeVec,
    pub(in crate::server) edge_age: GaugeVec,
    pub(in crate::server) edge_epoch: IntGaugeVec,
    pub(in crate::server) edge_sequence: IntGaugeVec,
    pub(in crate::server) edge_reports_refused: IntCounter,
    pub(in crate::server) cache_lookups: IntCounterVec,
    pub(in crate::server) cache_tokens: IntGauge,
    pub(in crate::server) cache_bytes: IntGauge,
    pub(in crate::server) nonces: IntGaugeVec,
    pub(in crate::server) nonces_limit: IntGaugeVec,
    pub(in crate::server) nonces_refused: IntCounterVec,
    pub(in crate::server) key_age: IntGaugeVec,
    pub(in crate::server) clock_drift: Gauge,
    pub(in crate::server) process: process::Families,
}

/// Buckets: answers within a network, log-ins with password hashing, long
/// polls.
const REQUEST_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Buckets: a read from memory, a commit on a slow disk, a wait for another
/// process.
const STORE_SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

impl Metrics {
    /// Uses its own registry: nothing is global.
    pub(crate) fn new() -> Result<Self, ConfigError> {
        // This fails only for invalid names or labels in this file.
        Self::make().map_err(|why| ConfigError::Serve(why.into()))
    }

    #[expect(clippy::too_many_lines, reason = "a list of what there is")]
    fn make() -> prometheus::Result<Self> {
        let m = Maker::new();
        let build = m.gauges("hallpass_build_info", "Which version this is; always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let families = Families {
            scraping: Mutex::default(),
            started: (SystemClock.now(), Instant::now()),
            events: m.counters("hallpass_events_total", "What happened, by name.", &["event"])?,
            verdicts: m.counters(
                "hallpass_verdicts_total",
                "Tokens that were looked at: accepted, or why they were refused.",
                &["verdict"],
            )?,
            log_ins: m.counters(
                "hallpass_log_ins_total",
                "Attempts to log in with a password, by outcome.",
                &["outcome"],
            )?,
            limited: m.counters(
                "hallpass_limited_total",
                "Attempts that ran into a limit, by which.",
                &["limit"],
            )?,
            sessions: m.counters(
                "hallpass_sessions_total",
                "Sessions created and ended, tokens renewed.",
                &["change"],
            )?,
            revocations: m.counters(
                "hallpass_revocations_total",
                "Revocations entered by this process, by what they are of.",
                &["target"],
            )?,
            panics: m.counter("hallpass_panics_total", "Requests that ended in a panic: a bug each.")?,
            anomalies: m.counters(
                "hallpass_anomalies_total",
                "Anomalies, each once for what it is about and its window, by kind.",
                &["kind"],
            )?,
            anomaly_events_dropped: m.counter(
                "hallpass_anomaly_events_dropped_total",
                "Events that the detectors of anomalies did not hear: more came than they could take.",
            )?,
            webhooks_dropped: m.counter(
                "hallpass_webhooks_dropped_total",
                "Webhooks that were not sent: too many waited.",
            )?,
            in_flight: m.gauge("hallpass_http_requests_in_flight", "Requests being served.")?,
            requests: m.histograms(
                "hallpass_http_request_duration_seconds",
                "From a request's head to its answer's head, by route and status class.",
                &["route", "status"],
                REQUEST_SECONDS,
            )?,
            store: m.histograms(
                "hallpass_store_duration_seconds",
                "Calls to the store, waiting for the writer included.",
                &["operation"],
                STORE_SECONDS,
            )?,
            store_errors: m.counters(
                "hallpass_store_errors_total",
                "Calls to the store that it could not serve, by why.",
                &["kind"],
            )?,
            feeds_signed: m.counter("hallpass_feeds_signed_total", "Feeds signed, each for one base.")?,
            feed_errors: m.counter("hallpass_feed_errors_total", "Feeds that could not be signed.")?,
            feed_signed_at: m.gauge(
                "hallpass_feed_signed_timestamp_seconds",
                "When the newest feed was signed; 0 until an edge asks for one.",
            )?,
            feed_connections: m.gauge(
                "hallpass_feed_connections",
                "Edges that wait for revocations: streams of events and long polls.",
            )?,
            waiting_refused: m.counters(
                "hallpass_waiting_refused_total",
                "Requests that would have waited for revocations, by the limit that refused them.",
                &["limit"],
            )?,
            feed_signing: m.histogram(
                "hallpass_feed_signing_duration_seconds",
                "Reading and signing one feed.",
                STORE_SECONDS,
            )?,
            password_checks: m.gauges(
                "hallpass_password_checks",
                "Passwords being hashed, and waiting for it.",
                &["state"],
            )?,
            password_checks_limit: m.gauges(
                "hallpass_password_checks_limit",
                "How many there may be of each.",
                &["state"],
            )?,
            position: m.gauges(
                "hallpass_revocations_position",
                "Epoch and sequence of the store's last revocation, and of this process's list.",
                &["of", "part"],
            )?,
            list_entries: m.gauge("hallpass_revocation_list_entries", "Entries of this process's list.")?,
            list_bytes: m.gauge("hallpass_revocation_list_bytes", "Bytes that the list takes.")?,
            edges: m.gauge("hallpass_edges_connected", "Edges that reported in the last 30 s.")?,
            edge_reported: m.gauges(
                "hallpass_edges_report_timestamp_seconds",
                "When an edge last reported.",
                &["edge"],
            )?,
            edge_age: m.float_gauges(
                "hallpass_edges_feed_age_seconds",
                "Since the feed that an edge applied last was signed, or, if none, since the issuer's start.",
                &["edge"],
            )?,
            edge_epoch: m.gauges(
                "hallpass_edges_feed_epoch",
                "The epoch that an edge has applied.",
                &["edge"],
            )?,
            edge_sequence: m.gauges(
                "hallpass_edges_feed_sequence",
                "The sequence that an edge has applied.",
                &["edge"],
            )?,
            edge_reports_refused: m.counter(
                "hallpass_edges_reports_refused_total",
                "Reports without the edge credential, of no use, or of more edges than there may be.",
            )?,
            cache_lookups: m.counters(
                "hallpass_token_cache_lookups_total",
                "Look-ups in the cache of verified tokens.",
                &["result"],
            )?,
            cache_tokens: m.gauge("hallpass_token_cache_tokens", "Tokens in the cache.")?,
            cache_bytes: m.gauge("hallpass_token_cache_bytes", "Bytes that they take.")?,
            nonces: m.gauges(
                "hallpass_nonces",
                "Used tickets and proofs that are remembered.",
                &["purpose"],
            )?,
            nonces_limit: m.gauges("hallpass_nonces_limit", "How many there may be.", &["purpose"])?,
            nonces_refused: m.counters(
                "hallpass_nonces_refused_total",
                "Tickets and proofs that the nonce cache refused, by why.",
                &["purpose", "reason"],
            )?,
            key_age: m.gauges(
                "hallpass_key_age_seconds",
                "How long the key that signs has signed.",
                &["use"],
            )?,
            clock_drift: m.float_gauge(
                "hallpass_clock_drift_seconds",
                "How far the wall clock has moved against the monotonic clock since the start.",
            )?,
            process: process::Families::new(&m)?,
            registry: m.into_registry(),
        };
        families.start_at_zero();
        Ok(Self(Arc::new(families)))
    }

    /// Counts an event.
    pub(crate) fn event(&self, event: &Event) {
        let m = &*self.0;
        m.events.with_label_values(&[event.kind.name()]).inc();
        match event.kind {
            EventKind::LogInSucceeded => m.log_ins.with_label_values(&["success"]).inc(),
            EventKind::LogInFailed => m.log_ins.with_label_values(&["failure"]).inc(),
            EventKind::LogInLimited(limit) => {
                m.log_ins.with_label_values(&["limited"]).inc();
                m.limited.with_label_values(&[limit.name()]).inc();
            }
            EventKind::SessionsExceeded(limit) => m.limited.with_label_values(&[limit.name()]).inc(),
            EventKind::SessionCreated => m.sessions.with_label_values(&["created"]).inc(),
            EventKind::SessionRenewed => m.sessions.with_label_values(&["renewed"]).inc(),
            EventKind::SessionEnded => m.sessions.with_label_values(&["ended"]).inc(),
            _ => {}
        }
    }

    /// Counts the verdict on a token.
    pub(crate) fn verdict(&self, verdict: Result<(), Reason>) {
        let verdict = verdict.map_or_else(Reason::as_str, |()| ACCEPTED);
        self.0.verdicts.with_label_values(&[verdict]).inc();
    }

    /// Counts an entry in the revocation list; `target` is from a fixed list.
    pub(crate) fn revoked(&self, target: &'static str) {
        self.0.revocations.with_label_values(&[target]).inc();
    }

    /// Counts an anomaly.
    pub(crate) fn anomaly(&self, kind: AnomalyKind) {
        self.0.anomalies.with_label_values(&[kind.name()]).inc();
    }

    /// Counts a request that panicked.
    pub(crate) fn panicked(&self) {
        self.0.panics.inc();
    }

    /// Counts a feed that could not be made.
    pub(crate) fn feed_refused(&self) {
        self.0.feed_errors.inc();
    }

    /// Counts a feed that was signed at `at`.
    pub(crate) fn feed_signed(&self, at: UnixTime, took: Duration) {
        let m = &*self.0;
        m.feeds_signed.inc();
        m.feed_signing.observe(took.as_secs_f64());
        m.feed_signed_at.set(families::signed(at.as_secs()));
    }

    /// Counts an edge that waits for revocations, until the guard is dropped.
    pub(crate) fn feed_connection(&self) -> Guard {
        Guard::of(&self.0.feed_connections)
    }

    /// Counts a request that was refused a wait.
    pub(crate) fn may_not_wait(&self, full: Full) {
        let limit = if full == Full::All { "all" } else { "address" };
        self.0.waiting_refused.with_label_values(&[limit]).inc();
    }

    /// Counts a request in progress, until the guard is dropped.
    pub(crate) fn request(&self) -> Guard {
        Guard::of(&self.0.in_flight)
    }

    /// Counts an answered request; `route` is one of the program's templates.
    pub(crate) fn answered(&self, route: &str, status: StatusCode, took: Duration) {
        let class = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.0.requests.with_label_values(&[route, class]).observe(took.as_secs_f64());
    }

    /// Counts an edge's report that was refused.
    pub(crate) fn edge_report_refused(&self) {
        self.0.edge_reports_refused.inc();
    }
}

/// The verdict that is not a refusal reason.
const ACCEPTED: &str = "accepted";

/// Counts something for as long as it lasts.
pub(crate) struct Guard(IntGauge);

impl Guard {
    fn of(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Families {
    /// Creates every counter at zero. A counter that first appears with its
    /// first event shows no rate for it.
    fn start_at_zero(&self) {
        for kind in AnomalyKind::ALL.iter().copied() {
            self.anomalies.with_label_values(&[kind.name()]).inc_by(0);
        }
        for reason in Reason::ALL.iter().map(|reason| reason.as_str()).chain([ACCEPTED]) {
            self.verdicts.with_label_values(&[reason]).inc_by(0);
        }
        for kind in [
            EventKind::LogInSucceeded,
            EventKind::LogInFailed,
            EventKind::LogInLimited(Limit::Address),
            EventKind::LogInLimited(Limit::Failures),
            EventKind::SessionCreated,
            EventKind::SessionRenewed,
            EventKind::SessionEnded,
            EventKind::SessionsExceeded(Limit::SessionsOfAccount),
            EventKind::UseAfterExpiry,
            EventKind::TokenRefused(Reason::Malformed),
            EventKind::TokenReuse,
            EventKind::TicketIssued,
            EventKind::TicketRedeemed,
        ] {
            self.events.with_label_values(&[kind.name()]).inc_by(0);
        }
        for limit in [
            Limit::Account,
            Limit::Address,
            Limit::Failures,
            Limit::SessionsOfAccount,
            Limit::SessionsOfAddress,
            Limit::PasswordWork,
            Limit::Feed,
        ] {
            self.limited.with_label_values(&[limit.name()]).inc_by(0);
        }
        for (family, values) in [
            (&self.log_ins, &["success", "failure", "limited"][..]),
            (&self.sessions, &["created", "renewed", "ended"]),
            (&self.revocations, &["session", "family", "other_sessions", "subject", "key", "all"]),
            (&self.store_errors, store::KINDS),
            (&self.cache_lookups, &["hit", "miss"]),
            (&self.waiting_refused, &["all", "address"]),
        ] {
            for value in values {
                family.with_label_values(&[value]).inc_by(0);
            }
        }
    }
}
