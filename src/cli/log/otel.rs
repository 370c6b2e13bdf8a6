//! Spans to an OpenTelemetry collector: OTLP over HTTP, protobuf. The standard
//! environment variables enable and configure it (`OTEL_EXPORTER_OTLP_*`,
//! `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`).

use std::sync::OnceLock;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

/// Flushed when the program ends. Never dropped: its HTTP client must not be
/// dropped inside an async runtime.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Returns the layer that sends this program's spans, if a collector is named.
///
/// # Errors
/// A message for the log, if the named collector can't be used.
pub(super) fn layer<S>() -> Option<Result<impl Layer<S>, String>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    super::collector_is_named().then(|| {
        let provider = provider()?;
        let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
        let _ = PROVIDER.set(provider);
        let spans = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        // The exporter's own requests must not create spans to export. A span
        // holds the same fields as the log lines, so the same filter applies.
        Ok(spans.with_filter(Targets::new().with_target("hallpass", LevelFilter::INFO)))
    })
}

fn provider() -> Result<SdkTracerProvider, String> {
    // The exporter's HTTP client uses the process-wide provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .build()
        .map_err(|why| why.to_string())?;
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(env!("CARGO_PKG_NAME"));
    }
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())
}

/// Flushes the spans that are left. Waits for the collector a few seconds at
/// most.
pub(super) fn finish() {
    if let Some(provider) = PROVIDER.get() {
        let _ = provider.shutdown_with_timeout(core::time::Duration::from_secs(3));
    }
}
