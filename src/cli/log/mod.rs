//! Logging: what is logged, in which format, and what is logged of a panic.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

#[cfg(feature = "otel")]
mod otel;
#[cfg(test)]
mod tests;

/// Sets up logging: text for a terminal, JSON otherwise. `HALLPASS_LOG` sets
/// the filter, like `debug` or `hallpass=debug`. Panics are logged too. Spans
/// go to a collector if the environment names one.
pub(super) fn to_stderr() {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() {
        lines.boxed()
    } else {
        // The request is the only span, so naming it once a line is enough.
        lines.json().with_span_list(false).boxed()
    };
    let registry = tracing_subscriber::registry().with(lines.with_filter(filter()));
    #[cfg(feature = "otel")]
    let (spans, failed) = match otel::layer().transpose() {
        Ok(spans) => (spans, None),
        Err(why) => (None, Some(why)),
    };
    #[cfg(feature = "otel")]
    let registry = registry.with(spans);
    // Set once. A second call in one process (tests) keeps the first.
    if registry.try_init().is_err() {
        return;
    }
    std::panic::set_hook(Box::new(panicked));
    #[cfg(feature = "otel")]
    if let Some(error) = failed {
        tracing::error!(error, "no traces are sent: the exporter can't be set up");
    }
    #[cfg(not(feature = "otel"))]
    if collector_is_named() {
        tracing::warn!("no traces are sent: this hallpass was built without the feature otel");
    }
}

/// Flushes the spans that are left. Call it last before exit.
pub(super) fn finish() {
    #[cfg(feature = "otel")]
    otel::finish();
}

fn filter() -> EnvFilter {
    let filter = EnvFilter::try_from_env("HALLPASS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // At debug level the exporter logs a collector's answers, which may quote
    // the credentials it received.
    #[cfg(feature = "otel")]
    let filter = match "opentelemetry=info".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    filter
}

/// Whether the environment names an OpenTelemetry collector.
fn collector_is_named() -> bool {
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Logs the place and the message if it is a literal. A formatted message may
/// quote a secret, so it is left out.
fn panicked(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(tracing::field::display);
    let message = panic.payload().downcast_ref::<&'static str>().copied();
    tracing::error!(location, why = message.unwrap_or("not shown"), "a bug: panicked");
}
