//! Creating and registering metrics, in one call each.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, Result,
};

/// Creates the metrics of one registry.
pub(in crate::server) struct Maker(Registry);

impl Maker {
    pub(in crate::server) fn new() -> Self {
        Self(Registry::new())
    }

    pub(in crate::server) fn into_registry(self) -> Registry {
        self.0
    }

    fn entered<C: Collector + Clone + 'static>(&self, made: Result<C>) -> Result<C> {
        let made = made?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    pub(in crate::server) fn counter(&self, name: &str, help: &str) -> Result<IntCounter> {
        self.entered(IntCounter::new(name, help))
    }

    pub(in crate::server) fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec> {
        self.entered(IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub(in crate::server) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge> {
        self.entered(IntGauge::new(name, help))
    }

    pub(in crate::server) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        self.entered(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(in crate::server) fn float_gauge(&self, name: &str, help: &str) -> Result<Gauge> {
        self.entered(Gauge::new(name, help))
    }

    pub(in crate::server) fn float_gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<GaugeVec> {
        self.entered(GaugeVec::new(Opts::new(name, help), labels))
    }

    pub(in crate::server) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.entered(Histogram::with_opts(options))
    }

    pub(in crate::server) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.entered(HistogramVec::new(options, labels))
    }
}

/// Raises a counter to a count that is kept elsewhere and never falls.
pub(in crate::server) fn follow(counter: &IntCounter, count: u64) {
    counter.inc_by(count.saturating_sub(counter.get()));
}

/// Converts a count for a gauge.
pub(in crate::server) fn signed(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
