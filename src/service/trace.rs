//! A request's span, after OpenTelemetry's HTTP conventions. It has no effect
//! unless an exporter is set up.

use axum::extract::Request;
use http::{Method, StatusCode};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::Status;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Names the span and joins it to the trace of a trusted proxy (W3C Trace
/// Context, `traceparent`). Other clients' headers are ignored: they could put
/// their requests into other people's traces.
pub(crate) fn begin(span: &Span, request: &Request, route: &str, believed: bool) {
    let method = match request.method() {
        method @ (&Method::GET
        | &Method::HEAD
        | &Method::POST
        | &Method::PUT
        | &Method::DELETE
        | &Method::OPTIONS
        | &Method::PATCH) => method.as_str(),
        // "_OTHER" by the conventions: the client may have made it up.
        _ => "_OTHER",
    };
    span.record("otel.name", format_args!("{method} {route}"));
    span.record("otel.kind", "server");
    span.set_attribute("http.request.method", method.to_owned());
    span.set_attribute("http.route", route.to_owned());
    if believed {
        let parent = TraceContextPropagator::new().extract(&HeaderExtractor(request.headers()));
        // Without an exporter there is no span to attach.
        let _ = span.set_parent(parent);
    }
}

/// Records the outcome: only server errors are errors of the span.
pub(crate) fn end(span: &Span, status: StatusCode) {
    span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.set_status(Status::error(""));
    }
}
